"""`python3 -m installer.network recover|confirm|revert`: settle a change of the network.

The timer that guards an unconfirmed change calls `revert`; the unit before networkd calls
`recover`; an operator at the console may call any.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from installer.network import address, bridge


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="installer.network", description=__doc__)
    parser.add_argument("verb", choices=("recover", "confirm", "revert"))
    verb = parser.parse_args(argv).verb
    try:
        if verb == "recover":
            bridge.recover()
            address.recover()
        elif verb == "confirm":
            print(_("kept") if address.confirm() else _("nothing to confirm"))
        else:
            print(_("taken back") if address.revert() else _("nothing to take back"))
    except BlockhostError as error:
        print(f"installer.network: {error}", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
