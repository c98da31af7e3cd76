"""Page `storage`: the disk that the host works on, chosen by what is printed on it."""

from __future__ import annotations

from flask import Blueprint, request, session

from blockhost.errors import AnswerError
from blockhost.i18n import gettext as _
from installer.web import facts
from installer.web.pages.form import Shown, refused, saved, shown

page = Blueprint("storage", __name__, url_prefix="/wizard/storage")

TEMPLATE = "wizard/storage.html"


@page.get("", strict_slashes=False)
def show() -> Shown:
    disks = facts.disks()
    return shown(TEMPLATE, {"disk": session.get("selected_disk") or _only_choice(disks)}, disks=disks)


@page.post("", strict_slashes=False)
def save() -> Shown:
    from installer.answers import StorageAnswer  # noqa: PLC0415

    disks = facts.disks()
    try:
        answer = StorageAnswer.from_form(request.form)
        _require_known(answer.disk, disks)
    except AnswerError as error:
        return refused(TEMPLATE, error, disks=disks)
    return saved("storage", answer.to_session())


def _only_choice(disks: list[facts.Facts]) -> str:
    """Where there is one disk, it is chosen; between several, only the operator decides."""
    known = _selectable(disks)
    return known[0] if len(known) == 1 else ""


def _selectable(disks: list[facts.Facts]) -> list[str]:
    return [disk["path"] for disk in disks if disk.get("is_selectable")]


def _require_known(disk: str, disks: list[facts.Facts]) -> None:
    known = _selectable(disks)
    if disk not in known:
        raise AnswerError(
            "disk",
            _("%(disk)s is no disk of this machine that can be chosen, expected one of: %(known)s")
            % {"disk": disk, "known": ", ".join(known) or _("none was found")},
        )
