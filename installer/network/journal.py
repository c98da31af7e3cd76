"""The network change in hand, written down before it begins.

Whoever finds the note at start knows that the change neither finished nor was taken back, and has
in it all that is needed for either. After a power cut only the files count: addresses and routes
died with the kernel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from blockhost import boot_clock, paths
from blockhost.errors import CommandFailed, DamagedFile, FieldError
from blockhost.fields import Fields
from blockhost.files import make_dir, read_json, remove, write_atomic, write_json
from blockhost.i18n import gettext as _
from installer.network import persist, state
from installer.network.state import InterfaceState


class Phase(StrEnum):
    """How far a change is: TRYING is taken back after a crash, KEEPING is finished."""

    TRYING = "trying"
    KEEPING = "keeping"


@dataclass(frozen=True, slots=True)
class Note:
    """One change: what was before, what it makes, and the files as they were (None: absent)."""

    kind: str
    before: list[InterfaceState]
    made: list[str]
    files: dict[str, str | None]
    plan: dict[str, Any] = field(default_factory=dict)
    phase: Phase = Phase.TRYING
    boot_id: str = field(default_factory=boot_clock.boot_id)
    #: Boot-clock second at which an unconfirmed change is taken back; None: nobody has to confirm.
    deadline: float | None = None

    @property
    def is_of_this_boot(self) -> bool:
        return self.boot_id == boot_clock.boot_id()


def note_file() -> Path:
    return paths.state_dir() / "network-change.json"


def write(note: Note) -> Note:
    """Make the note durable before the change goes on."""
    if not note_file().parent.is_dir():
        make_dir(note_file().parent, mode=0o750)
    write_json(note_file(), asdict(note), mode=0o600)
    return note


def keep(note: Note) -> Note:
    """Note that the change proved itself: from here on a crash is finished, not taken back."""
    return write(replace(note, phase=Phase.KEEPING))


def read() -> Note | None:
    """The change in hand, if any.

    Raises:
        DamagedFile: there was one, and what it was cannot be read any more.
    """
    path = note_file()
    try:
        document = read_json(path)
    except FileNotFoundError:
        return None
    try:
        fields = Fields(document, source=str(path))
        return Note(
            kind=fields.take("kind", str),
            before=[InterfaceState(**entry) for entry in fields.take("before", list)],
            made=list(fields.strings("made")),
            files=fields.take("files", dict),
            plan=fields.take("plan", dict),
            phase=Phase(fields.take("phase", str)),
            boot_id=fields.take("boot_id", str),
            deadline=document.get("deadline"),
        )
    except (FieldError, TypeError, ValueError) as error:
        raise DamagedFile(
            path, str(error), remedy=_("Remove %(path)s and restart the machine") % {"path": path}
        ) from error


def clear() -> None:
    """The change is over, one way or the other."""
    remove(note_file())


def snapshot_files(files: Iterator[Path] | list[Path]) -> dict[str, str | None]:
    """What these files hold now."""
    held: dict[str, str | None] = {}
    for path in files:
        try:
            held[str(path)] = path.read_text()
        except FileNotFoundError:
            held[str(path)] = None
    return held


def take_back(note: Note) -> None:
    """Put everything back as the note found it; repeating it is harmless."""
    files_changed = _restore_files(note)
    if note.is_of_this_boot:
        _free(note)
        for before in note.before:
            restore(before)
        if files_changed:
            persist.reload()
            # networkd, if it runs, configures these links anew; what it does not bring back, we do.
            for before in note.before:
                restore(before)
    clear()


def restore(before: InterfaceState) -> None:
    """Make the interface carry exactly what it carried."""
    now = state.read_interface(before.name)
    if now is None:
        return
    _remove_surplus(before, now)
    if before.up and not now.up:
        state.ip("link", "set", "dev", before.name, "up")
    # Of several IPv6 addresses the kernel lists the newest first, so the last one goes in first.
    v4 = [address for address in before.addresses if address["family"] == "inet"]
    v6 = [address for address in before.addresses if address["family"] == "inet6" and state.is_moved(address)]
    for address in (*v4, *reversed(v6)):
        if not state.has_address(address, before.name):
            state.add_address(address, before.name)
    if before.routes4 or before.routes6:
        state.wait_until_usable(before.name)
        state.add_routes(before, before.name)
    if not before.up and now.up:
        state.ip("link", "set", "dev", before.name, "down")


def _free(note: Note) -> None:
    """Take the interfaces out of what the change made, and remove that."""
    for before in note.before:
        now = state.read_interface(before.name)
        if now is not None and now.master != before.master:
            target = ["master", before.master] if before.master else ["nomaster"]
            state.ip("link", "set", "dev", before.name, *target)
    for name in note.made:
        if state.exists(name):
            state.ip("link", "del", "dev", name)


def _remove_surplus(before: InterfaceState, now: InterfaceState) -> None:
    kept = {(address["local"], address["prefixlen"]) for address in before.addresses}
    for address in now.addresses:
        if state.is_moved(address) and (address["local"], address["prefixlen"]) not in kept:
            # The kernel removes secondary addresses with their primary one: gone is fine.
            with contextlib.suppress(CommandFailed):
                state.ip("addr", "del", f"{address['local']}/{address['prefixlen']}", "dev", before.name)
    state.delete_routes(now, before.name, keep=before)


def _restore_files(note: Note) -> bool:
    changed = False
    for name, content in note.files.items():
        path = Path(name)
        now = path.read_text() if path.exists() else None
        if now == content:
            continue
        changed = True
        if content is None:
            remove(path)
        else:
            write_atomic(path, content, mode=persist.MODE)
    return changed
