"""The engine's finalization steps, in the order they run."""

from blockhost.engine_local.steps import engine_config, ledger, mint_nft, monitor, plan

BEFORE = (ledger.STEP, engine_config.STEP)
AFTER = (mint_nft.STEP, plan.STEP, monitor.STEP)

__all__ = ["AFTER", "BEFORE"]
