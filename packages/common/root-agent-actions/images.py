"""Preparing a template image with virt-customize, for provisioners that build theirs that way.

Ours does not: its template is built without libguestfs, so the appliance carries no virt-customize,
and the agent's sandbox keeps QEMU out. A package that needs it depends on it and brings a drop-in.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Self

from blockhost import paths
from blockhost.command import run
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.root_agent.action import action
from blockhost.root_agent.confined import opened, path_of
from blockhost.root_agent.values import Text

_GUEST = r"/(?:[A-Za-z0-9][A-Za-z0-9._+-]{0,63}/){0,8}[A-Za-z0-9][A-Za-z0-9._+-]{0,63}"
_PACKAGE = r"[a-z0-9][a-z0-9+.-]{1,63}"
_UNIT = r"[A-Za-z0-9][A-Za-z0-9@._-]{0,63}\.(?:service|socket|timer|path)"
_DEB = r"[a-z0-9][A-Za-z0-9+.~_-]{1,127}\.deb"
#: What may be done in the image, and what its operand looks like. All of it happens inside the guest
#: but `upload`, whose source is a package of `template-packages`.
OPERATIONS = {
    "install": rf"{_PACKAGE}(?:,{_PACKAGE}){{0,63}}",
    "uninstall": rf"{_PACKAGE}(?:,{_PACKAGE}){{0,63}}",
    "upload": rf"{_DEB}:{_GUEST}",
    "mkdir": _GUEST,
    "delete": _GUEST,
    "truncate": _GUEST,
    "chmod": rf"0?[0-7]{{3}}:{_GUEST}",
    "run-command": rf"systemctl (?:enable|disable|mask) {_UNIT}|dpkg --install {_GUEST}\.deb",
}
MOST = 64


class ImagePath(Text):
    """A template image of this host."""

    PATTERN = r"/var/lib/blockhost/template/[A-Za-z0-9][A-Za-z0-9._-]{0,127}\.(?:qcow2|raw|img)"
    EXPECTED = N_("the path of an image in /var/lib/blockhost/template")


class Operations(tuple[tuple[str, str], ...]):
    """Pairs of an operation and its operand."""

    __slots__ = ()

    def __new__(cls, value: object) -> Self:
        if not isinstance(value, list) or not 0 < len(value) <= MOST:
            raise ValueError(_("expected a list of 1 to %(most)s pairs") % {"most": MOST})
        return super().__new__(cls, (cls._pair(pair) for pair in value))

    @staticmethod
    def _pair(pair: object) -> tuple[str, str]:
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(word, str) for word in pair):
            raise ValueError(_("expected pairs of an operation and its operand"))
        operation, operand = pair[0].removeprefix("--"), pair[1]
        if operation not in OPERATIONS:
            raise ValueError(_("expected operations among %(names)s") % {"names": ", ".join(OPERATIONS)})
        if not re.fullmatch(OPERATIONS[operation], operand):
            raise ValueError(_("%(operation)s: expected another operand") % {"operation": operation})
        return operation, operand


@action(resource="images", is_slow=True)
def virt_customize(image_path: ImagePath, commands: Operations) -> None:
    """Change a template image; a failure leaves it as virt-customize left it."""
    with ExitStack() as files:
        image = files.enter_context(opened(paths.state_dir() / "template", image_path.rpartition("/")[2]))
        kind = "qcow2" if image_path.endswith(".qcow2") else "raw"
        argv = ["virt-customize", "--quiet", "--format", kind, "--add", path_of(image)]
        for operation, operand in commands:
            if operation == "upload":
                name, _colon, target = operand.partition(":")
                source = files.enter_context(opened(paths.state_dir() / "template-packages", name))
                operand = f"{path_of(source)}:{target}"  # noqa: PLW2901  the checked one, opened
            argv += [f"--{operation}", operand]
        run(argv, timeout=280)


ACTIONS = {"virt-customize": virt_customize}
