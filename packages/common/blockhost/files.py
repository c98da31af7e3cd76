"""The one durable way to write a file.

A temporary file is created with its final mode and owner, filled, fsynced, renamed over the
name, and the directory is fsynced (the recipe that survives power cuts; see Pillai et al.,
"All File Systems Are Not Created Equal", OSDI 2014). A reader sees the old or the new file.
"""

from __future__ import annotations

import contextlib
import grp
import hashlib
import json
import logging
import os
import pwd
import re
import secrets
import stat
from pathlib import Path
from typing import Any

from blockhost import paths
from blockhost.errors import DamagedFile
from blockhost.i18n import gettext as _
from blockhost.os_errors import about

log = logging.getLogger(__name__)

SEALED_SCHEMA = 1
PREVIOUS = ".previous"
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}")


def write_atomic(
    path: Path, data: str | bytes, *, mode: int, owner: str | None = None, group: str | None = None
) -> None:
    """Replace `path` durably. `owner` and `group` apply to the appliance's own root, as root.

    Raises:
        OSError: it names `path`, which holds what it held before; or the new content where only
            the directory's own fsync failed, which a power cut may then undo.
    """
    content = data.encode() if isinstance(data, str) else data
    with about(path), _directory(path.parent) as directory:
        temporary = f".{path.name}.{secrets.token_hex(6)}"
        try:
            _write_new(temporary, content, mode, account_ids(owner, group), directory)
            os.rename(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        os.fsync(directory)


def create_once(path: Path, *, mode: int, ids: tuple[int, int] = (-1, -1)) -> bool:
    """Make an empty file, with its mode and owner from the first instant on, unless there is a file.

    False: there was one, and it is as it was. `ids` are numbers for chown.

    Raises:
        OSError: it names `path`. The file may be there; where its temporary name cannot be removed,
            that is told, for what is written to the file would show under both.
    """
    with about(path), _directory(path.parent) as directory:
        temporary = f".{path.name}.{secrets.token_hex(6)}"
        try:
            _write_new(temporary, b"", mode, ids, directory)
            os.link(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except FileExistsError:
            return False
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=directory)
        os.fsync(directory)
    return True


def write_json(
    path: Path, value: object, *, mode: int, owner: str | None = None, group: str | None = None
) -> None:
    """Replace `path` durably by `value` as indented JSON."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    write_atomic(path, text, mode=mode, owner=owner, group=group)


def read_json(path: Path) -> Any:
    """The JSON document in `path`.

    Raises:
        FileNotFoundError: there is none.
        DamagedFile: it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedFile(
            path,
            _("not valid JSON (%(error)s)") % {"error": error},
            remedy=_("Restore %(path)s from a backup, or remove it") % {"path": path},
        ) from error


def write_sealed(
    path: Path, body: object, *, mode: int, owner: str | None = None, group: str | None = None
) -> None:
    """Write state that must not be misread: schema, generation and checksum around `body`.

    The generation before stays beside it as `<name>.previous`.
    """
    generation = 1
    with contextlib.suppress(FileNotFoundError, DamagedFile):
        generation = _open_seal(path)["generation"] + 1
        _keep_previous(path)
    document = {
        "schema": SEALED_SCHEMA,
        "generation": generation,
        "sha256": _digest(generation, body),
        "body": body,
    }
    write_json(path, document, mode=mode, owner=owner, group=group)


def read_sealed(path: Path) -> Any:
    """The body that `write_sealed` wrote; the generation before, with a warning, if damaged.

    Raises:
        FileNotFoundError: neither generation exists.
        DamagedFile: neither generation can be trusted.
    """
    previous = path.with_name(path.name + PREVIOUS)
    try:
        return _open_seal(path)["body"]
    except FileNotFoundError:
        if not previous.exists():
            raise
        log.warning("%s is missing; using its previous generation", path)
        return _open_seal(previous)["body"]
    except DamagedFile as damage:
        try:
            body = _open_seal(previous)["body"]
        except (FileNotFoundError, DamagedFile):
            raise damage from None
        log.warning("%s; using its previous generation", damage)
        return body


def remove(path: Path) -> None:
    """Remove a file durably; a missing one is fine."""
    with contextlib.suppress(FileNotFoundError), about(path), _directory(path.parent) as directory:
        os.unlink(path.name, dir_fd=directory)
        os.fsync(directory)


def remove_sealed(path: Path) -> None:
    """Remove a sealed file with its previous generation (that one first: it must not come back)."""
    remove(path.with_name(path.name + PREVIOUS))
    remove(path)


def remove_leftovers(directory: Path) -> None:
    """Remove temporary files that a killed writer left here. Nobody may be writing meanwhile.

    They are as private as the file they were meant for; but a secret must not outlive its file.
    """
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        if _TEMPORARY.fullmatch(path.name):
            path.unlink(missing_ok=True)


def make_dir(path: Path, *, mode: int, owner: str | None = None, group: str | None = None) -> Path:
    """Make a directory, parents included, with this mode and owner; an existing one is corrected."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=mode)
    with about(path), _directory(path) as directory:
        if stat.S_IMODE(os.fstat(directory).st_mode) != mode:
            os.fchmod(directory, mode)
        ids = account_ids(owner, group)
        if ids != (-1, -1):
            os.fchown(directory, *ids)
    return path


def _write_new(name: str, content: bytes, mode: int, ids: tuple[int, int], directory: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    # Never wider than the final mode, even for an instant; fchmod then overrides the umask.
    descriptor = os.open(name, flags, mode & 0o600 if ids != (-1, -1) else mode, dir_fd=directory)
    try:
        if ids != (-1, -1):
            os.fchown(descriptor, *ids)
        os.fchmod(descriptor, mode)
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _directory(path: Path) -> Any:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def account_ids(owner: str | None, group: str | None) -> tuple[int, int]:
    """The numbers for chown; -1 (leave it) where there is nothing to change or we may not."""
    if os.geteuid() != 0 or paths.root() != Path("/"):
        return -1, -1  # a moved root has none of the appliance's accounts
    return (
        pwd.getpwnam(owner).pw_uid if owner else -1,
        grp.getgrnam(group).gr_gid if group else -1,
    )


def _keep_previous(path: Path) -> None:
    with about(path), _directory(path.parent) as directory:
        spare = f".{path.name}.{secrets.token_hex(6)}"
        os.link(path.name, spare, src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=False)
        try:
            os.rename(spare, path.name + PREVIOUS, src_dir_fd=directory, dst_dir_fd=directory)
        finally:
            # Two names of one file are left alone by rename(2): after a write that failed, it is that.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(spare, dir_fd=directory)


def _open_seal(path: Path) -> dict[str, Any]:
    remedy = _("Restore %(path)s from a backup, or reset the setup with `blockhost-setup reset`") % {
        "path": path
    }
    document = read_json(path)
    if not isinstance(document, dict) or "body" not in document:
        raise DamagedFile(path, _("not a sealed file"), remedy=remedy)
    if document.get("schema") != SEALED_SCHEMA:
        raise DamagedFile(
            path, _("unknown schema %(schema)r") % {"schema": document.get("schema")}, remedy=remedy
        )
    if document.get("sha256") != _digest(document.get("generation"), document["body"]):
        raise DamagedFile(path, _("checksum does not match"), remedy=remedy)
    return document


def _digest(generation: object, body: object) -> str:
    text = json.dumps([generation, body], sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
