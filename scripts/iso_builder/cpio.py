"""The initrd's archive format (cpio "newc"), read and written in memory.

Needs neither root nor a scratch tree, and the same files always give the same bytes.
"""

from __future__ import annotations

import io
import stat
from collections.abc import Mapping
from dataclasses import dataclass

MAGIC = b"070701"
HEADER_SIZE = 110
TRAILER = "TRAILER!!!"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, directory, link or device node; `data` is a link's target."""

    mode: int
    data: bytes = b""
    device: tuple[int, int] = (0, 0)


def regular(data: bytes, *, executable: bool = False) -> Entry:
    """An ordinary file owned by root."""
    return Entry(stat.S_IFREG | (0o755 if executable else 0o644), data)


def link(target: str) -> Entry:
    """A symbolic link."""
    return Entry(stat.S_IFLNK | 0o777, target.encode())


Tree = dict[str, Entry]


def read(archive: bytes) -> Tree:
    """All entries by path (no leading slash); hard links become copies.

    Raises:
        ValueError: this is no cpio archive in "newc" format.
    """
    tree: Tree = {}
    contents: dict[int, bytes] = {}  # by inode: of several links only one carries the data
    linked: dict[str, int] = {}
    offset = 0
    while True:
        if archive[offset : offset + 6] != MAGIC:
            raise ValueError(f"no cpio header at offset {offset}")
        fields = [int(archive[offset + 6 + 8 * i : offset + 14 + 8 * i], 16) for i in range(13)]
        inode, mode, links, size, name_size = fields[0], fields[1], fields[4], fields[6], fields[11]
        name = archive[offset + HEADER_SIZE : offset + HEADER_SIZE + name_size - 1].decode()
        offset = _aligned(offset + HEADER_SIZE + name_size)
        if name == TRAILER:
            break
        data = archive[offset : offset + size]
        offset = _aligned(offset + size)
        path = name.removeprefix("./").strip("/")
        if path in ("", "."):
            continue
        tree[path] = Entry(mode, data, (fields[9], fields[10]))
        if links > 1 and stat.S_ISREG(mode):
            linked[path] = inode
            contents[inode] = data or contents.get(inode, b"")
    for path, inode in linked.items():
        tree[path] = Entry(tree[path].mode, contents[inode])
    return tree


def write(tree: Mapping[str, Entry], *, epoch: int) -> bytes:
    """The archive of these entries, all owned by root and of one time; missing parents are added."""
    whole = dict(tree)
    for path in tree:
        while "/" in path:
            path = path.rpartition("/")[0]  # noqa: PLW2901  walking up
            whole.setdefault(path, Entry(stat.S_IFDIR | 0o755))
    out = io.BytesIO()
    for number, path in enumerate(sorted(whole), 1):
        _write_entry(out, number, path, whole[path], epoch)
    _write_entry(out, len(whole) + 1, TRAILER, Entry(0), 0)
    return out.getvalue()


def _write_entry(out: io.BytesIO, number: int, path: str, entry: Entry, epoch: int) -> None:
    name = path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, 0, 0, links, epoch, len(entry.data), 0, 0, *entry.device, len(name), 0)
    out.write(MAGIC + b"".join(b"%08X" % field for field in fields) + name)
    out.write(b"\0" * (-out.tell() % 4))
    out.write(entry.data)
    out.write(b"\0" * (-out.tell() % 4))


def _aligned(offset: int) -> int:
    return (offset + 3) & ~3
