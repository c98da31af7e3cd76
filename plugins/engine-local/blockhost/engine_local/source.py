"""The ledger as the monitor sees it: `blockhost.subscriptions.Source` for a host without a chain."""

from __future__ import annotations

import datetime
import json
from collections.abc import Sequence

from blockhost.cloud_init import render_cloud_init
from blockhost.config import load_config
from blockhost.config_files import HTTPS
from blockhost.engine_local import STEP_ID, sealing
from blockhost.engine_local.ledger import Ledger, credentials, events, keys, open_ledger, subscriptions
from blockhost.errors import BlockhostError, ConfigError
from blockhost.i18n import gettext as _
from blockhost.subscriptions import Event, Machine, Subscription, UserData

TEMPLATE = "nft-auth.yaml"
USERNAME = "user"

#: Replaces all keys of a user at once: a reader sees the old file or the new one.
SET_KEYS = r"""
set -eu
home=$(getent passwd "$1" | cut -d: -f6)
test -n "$home"
umask 077
mkdir -p "$home/.ssh"
printf '%s\n' "$2" > "$home/.ssh/.authorized_keys.new"
chown "$1:" "$home/.ssh" "$home/.ssh/.authorized_keys.new"
mv -f "$home/.ssh/.authorized_keys.new" "$home/.ssh/authorized_keys"
rm -f "$home/.ssh/authorized_keys2"
sync "$home/.ssh" 2> /dev/null || sync
"""


class LedgerSource:
    """Reads and writes through short openings of the ledger, so that any thread may ask."""

    name = STEP_ID

    def events(self, after: str) -> Sequence[Event]:
        with open_ledger() as book:
            found = events.after(book, int(after or 0))
        return [Event(str(number), subscription) for number, subscription in found]

    def ids(self) -> Sequence[int]:
        with open_ledger() as book:
            return [subscription.id for subscription in subscriptions.all_subscriptions(book)]

    def subscription(self, number: int) -> Subscription | None:
        with open_ledger() as book:
            known = subscriptions.find(book, number)
            if known is None:
                return None
            offer = subscriptions.plan_of(book, number)
        ends_at = datetime.datetime.fromtimestamp(known.ends_at, datetime.UTC)
        return Subscription(number, known.owner, offer.cpu, offer.memory_mb, offer.disk_gb, ends_at)

    def credential(self, subscription: Subscription) -> int:
        """Minted once for this subscription. A credential follows its subscription's owner."""
        with open_ledger() as book:
            occasion = subscriptions.occasion(subscription.id)
            known = credentials.find_once(book, occasion)
            return known.id if known else credentials.mint(book, subscription.owner, once=occasion)

    def user_data(self, subscription: Subscription, name: str, token: int) -> UserData:
        variables = {
            "VM_NAME": name,
            "VM_FQDN": name,
            "USERNAME": USERNAME,
            "WALLET_ADDRESS": subscription.owner,
            "NFT_TOKEN_ID": token,
            "SSH_KEYS": [_key_of(subscription.owner)],
        }
        return UserData(render_cloud_init(TEMPLATE, variables), USERNAME)

    def owner_commands(self, subscription: Subscription, username: str) -> Sequence[Sequence[str]]:
        return [["/bin/sh", "-c", SET_KEYS, "blockhost-set-keys", username, _key_of(subscription.owner)]]

    def deliver(self, subscription: Subscription, token: int, machine: Machine) -> None:
        """Where the machine is, for the owner's key alone; nothing for a key that only signs."""
        key = _key_of(subscription.owner)
        text = "0x"
        if sealing.is_sealable(key):
            text += sealing.seal(key, _details(machine).encode()).hex()
        with open_ledger() as book, book.transaction():
            # Whoever it was given to meanwhile must not find what was meant for the owner before.
            if credentials.get(book, token).owner != subscription.owner:
                raise BlockhostError(_("the subscription changed hands while it was worked on"))
            credentials.put_user_encrypted(book, token, text)


def details_of(book: Ledger, subscription: int) -> str | None:
    """The connection details for the owner of now, as an age file; None before there are any."""
    known = credentials.find_once(book, subscriptions.occasion(subscription))
    if known is None or known.public_key is None:
        return None
    sealed = bytes.fromhex(known.user_encrypted.removeprefix("0x"))
    return sealing.armoured(sealed) if sealing.is_for(known.public_key, sealed) else None


def _key_of(fingerprint: str) -> str:
    with open_ledger() as book:
        key = keys.public_key_of(book, fingerprint)
    if key is None:
        raise BlockhostError(
            _("the public key of %(fingerprint)s is not in the ledger") % {"fingerprint": fingerprint}
        )
    return key


def _details(machine: Machine) -> str:
    """JSON that a person can read as well."""
    address = machine.ip or machine.ipv6 or ""
    document: dict[str, str | None] = {
        "machine": machine.name,
        "host": _host(),
        "user": machine.username,
        "ip": machine.ip,
        "ipv6": machine.ipv6,
        "login": f"ssh {machine.username}@{address}",
    }
    if machine.host_key is not None:
        document["known_hosts"] = f"{address} {machine.host_key}"
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _host() -> str:
    try:
        return str(load_config(HTTPS.name).get("hostname") or "")
    except ConfigError:
        return ""
