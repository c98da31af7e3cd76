"""Whose machine it is, inside the guest: the GECOS field of its user, and the keys that log in."""

from __future__ import annotations

import re
import time

from blockhost.cloud_init import gecos
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt import guest

_USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
PROGRAM_S = 60.0


def change_owner(name: str, wallet: str, nft_id: int, ssh_keys: list[str] | None) -> str:
    """Write the owner into the guest; with `ssh_keys`, only those log in from then on. The user's name.

    The keys come first: a new owner in the GECOS field means that the old one is locked out already.
    """
    user = owner_account(_passwd(name))
    if ssh_keys is not None:
        arguments = {"username": user, "keys": ssh_keys, "reset": True}
        guest.ask(name, {"execute": "guest-ssh-add-authorized-keys", "arguments": arguments})
    _run(name, ["usermod", "--comment", gecos(wallet, nft_id), user])
    return user


def owner_account(passwd: str) -> str:
    """The account whose GECOS field names a wallet, else the first ordinary one.

    Raises:
        BlockhostError: the guest has none.
    """
    rows = [row for line in passwd.splitlines() if len(row := line.split(":")) == 7]
    named = [row for row in rows if row[4].startswith("wallet=")]
    ordinary = [row for row in rows if row[2].isascii() and row[2].isdigit() and 1000 <= int(row[2]) < 60000]
    for row in [*named, *ordinary]:
        if _USER.fullmatch(row[0]):
            return row[0]
    raise BlockhostError(_("the guest has no user for its owner"))


def _passwd(name: str) -> str:
    return _run(name, ["cat", "/etc/passwd"])


def _run(name: str, argv: list[str]) -> str:
    pid = guest.start_program(name, argv)
    deadline = time.monotonic() + PROGRAM_S
    while (ended := guest.look_at_program(name, pid)).code is None:
        if time.monotonic() > deadline:
            raise BlockhostError(
                _("%(name)s: %(program)s does not end in the guest") % {"name": name, "program": argv[0]}
            )
        time.sleep(0.1)
    if ended.code != 0:
        reason = ended.stderr.decode("utf-8", "replace").strip()[:200]
        raise BlockhostError(
            _("%(name)s: %(program)s in the guest ended with %(code)s: %(reason)s")
            % {"name": name, "program": argv[0], "code": ended.code, "reason": reason}
        )
    return ended.stdout.decode("utf-8", "replace")
