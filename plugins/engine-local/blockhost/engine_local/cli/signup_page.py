"""The signup page shows the plans, so it follows them."""

from __future__ import annotations

import sys

from blockhost.engine_local.signup import page
from blockhost.i18n import gettext as _


def renew() -> None:
    """Make it again, where there is one; only root may write where nginx reads."""
    if not page.default_path().exists():
        return
    try:
        page.publish()
    except PermissionError:
        print(_("As root, `blockhost-generate-signup` brings the signup page up to date."), file=sys.stderr)
