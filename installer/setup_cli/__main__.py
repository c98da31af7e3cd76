"""`python3 -m installer.setup_cli`"""

from __future__ import annotations

from installer.setup_cli.program import main

if __name__ == "__main__":
    raise SystemExit(main())
