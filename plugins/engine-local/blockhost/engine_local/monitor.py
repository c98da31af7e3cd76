"""blockhost-monitor.service: turns the ledger's subscriptions into machines.

python3 -m blockhost.engine_local.monitor
"""

from __future__ import annotations

import logging
import sys

from blockhost.engine_local.source import LedgerSource
from blockhost.errors import BlockhostError
from blockhost.subscriptions.monitor import serve


def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    try:
        return serve(LedgerSource())
    except BlockhostError as error:
        print(f"blockhost-monitor: {error}", file=sys.stderr)  # noqa: T201  for the journal
        return 1


if __name__ == "__main__":
    raise SystemExit(main())
