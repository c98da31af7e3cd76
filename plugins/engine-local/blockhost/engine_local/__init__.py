"""The engine for a host without a chain: SSH keys for wallets, a local ledger for contracts.

| a chain engine has          | this one has                                              |
|-----------------------------|-----------------------------------------------------------|
| an address                  | the fingerprint of an SSH public key (`identity`)         |
| a wallet's signature        | `ssh-keygen -Y sign -n blockhost` (`identity`)            |
| credential NFTs, plans, subscriptions | rows in one SQLite file (`ledger`)              |
| keccak256(signature) as key | HKDF-SHA256 of a deterministic signature (`encryption`)   |
| coins                       | none                                                      |
"""

STEP_ID = "local"
"""The engine's name, and so its page's."""

SESSION_KEY = "local_engine"
"""Where wizard and steps keep this engine's answers."""
