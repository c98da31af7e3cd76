"""Power cuts without a machine: recorded calls are replayed into every tree that a cut may leave.

A process writes header, records and vault under strace. Between two calls the power may fail:
what was fsynced is there, everything else may be there or not, in any combination (Pillai et al.,
"All File Systems Are Not Created Equal", OSDI 2014). Each such tree is made and read again.

The model: the bytes of a file are safe once its descriptor was fsynced; a name (create, rename,
link, unlink) once its directory was. Unsafe bytes may be there, be missing, or be cut in half.
Unsafe names of one directory may be there or not, each for itself.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testing.dry_run import CODE_PATHS, TOP
from testing.fixtures.worker_rig import REPOSITORY

CALLS = "openat,write,fsync,rename,renameat,renameat2,unlink,unlinkat,link,linkat,mkdir,mkdirat,close"
#: What the writing process prints when the product says that something is durable.
ACKNOWLEDGED = "ACKNOWLEDGED "
#: More free choices than this at one moment are sampled from both ends instead of all tried.
MOST_CHOICES = 9

_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+|\?)")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD_PATH = re.compile(r"(?:\d+|AT_FDCWD)<((?:[^<>\\]|\\.)*)>")


@dataclass(frozen=True)
class Write:
    file: str
    data: bytes


@dataclass(frozen=True)
class Create:
    name: str


@dataclass(frozen=True)
class Rename:
    source: str
    target: str


@dataclass(frozen=True)
class Link:
    source: str
    target: str


@dataclass(frozen=True)
class Unlink:
    name: str


@dataclass(frozen=True)
class Fsync:
    path: str


@dataclass(frozen=True)
class Acknowledge:
    what: str


Operation = Write | Create | Rename | Link | Unlink | Fsync | Acknowledge


def record(script: str, root: Path, *, plant: str = "") -> list[Operation]:
    """Run a script under strace and return what it did to files below `root`, in order."""
    log = root.parent / f"{root.name}.strace"
    environment = {
        **os.environ,
        "BLOCKHOST_ROOT": str(root),
        "BLOCKHOST_DRY_RUN": "1",
        "BLOCKHOST_PLANT": plant,
        "PYTHONPATH": os.pathsep.join([str(TOP / "testing/crash/gate"), *(str(TOP / p) for p in CODE_PATHS)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    argv = ["strace", "-qq", "-f", "-y", "-xx", "-s", "1000000", "-e", f"trace={CALLS}", "-o", str(log)]
    subprocess.run([*argv, sys.executable, "-c", script], env=environment, cwd=REPOSITORY, check=True)
    operations = list(_parse(log, root))
    assert any(isinstance(operation, Acknowledge) for operation in operations), "nothing was acknowledged"
    return operations


def _parse(log: Path, root: Path) -> Iterator[Operation]:
    for line in log.read_text(errors="replace").splitlines():
        match = _LINE.match(line)
        if match is None or match[3].startswith("-") or match[3] == "?":
            continue
        call, arguments = match[1], match[2]
        strings = [_decode(text) for text in _STRING.findall(arguments)]
        places = [_plain(text) for text in _FD_PATH.findall(arguments)]
        yield from _operation(call, arguments, strings, places, str(root))


def _operation(
    call: str, arguments: str, strings: list[bytes], places: list[str], root: str
) -> Iterator[Operation]:
    if call == "write" and strings and strings[0].startswith(ACKNOWLEDGED.encode()):
        yield from (
            Acknowledge(line.removeprefix(ACKNOWLEDGED))
            for line in strings[0].decode().splitlines()
            if line.startswith(ACKNOWLEDGED)
        )
        return
    if call == "write" and places and places[0].startswith(root):
        yield Write(places[0], strings[0])
    elif call == "fsync" and places and places[0].startswith(root):
        yield Fsync(places[0])
    elif call == "openat" and "O_CREAT" in arguments:
        if (name := _join(places[0], strings[0])).startswith(root):
            yield Create(name)
    elif call in {"rename", "renameat", "renameat2", "link", "linkat"}:
        source, target = _two_names(strings, places)
        if target.startswith(root):
            yield (Rename if call.startswith("rename") else Link)(source, target)
    elif call in {"unlink", "unlinkat"}:
        name = _join(places[0] if places else "", strings[0])
        if name.startswith(root):
            yield Unlink(name)


def _two_names(strings: list[bytes], places: list[str]) -> tuple[str, str]:
    places = places if len(places) == 2 else ["", ""]
    return _join(places[0], strings[0]), _join(places[1], strings[1])


def _join(directory: str, name: bytes) -> str:
    return os.path.join(directory, name.decode())  # noqa: PTH118  an absolute name wins


def _decode(text: str) -> bytes:
    return bytes.fromhex(text.replace("\\x", ""))


def _plain(text: str) -> str:
    """A path as strace -xx prints it: hexadecimal throughout, or as it is."""
    return _decode(text).decode() if text.startswith("\\x") else text


# --- trees after a cut ----------------------------------------------------------------------


@dataclass
class _Inode:
    safe: bytes = b""
    data: bytes = b""


@dataclass
class Disk:
    """What the operations so far made: safe names and bytes, and what may get lost."""

    safe_names: dict[str, _Inode] = field(default_factory=dict)
    names: dict[str, _Inode] = field(default_factory=dict)
    #: Changes of names since their directory was last fsynced: name -> inode, None: removed.
    open: list[tuple[str, _Inode | None]] = field(default_factory=list)

    def do(self, operation: Operation) -> None:
        match operation:
            case Create(name):
                if name not in self.names:
                    self._name(name, _Inode())
            case Write(file, data):
                self.names.setdefault(file, _Inode()).data += data
            case Rename(source, target):
                inode = self.names[source]
                self._name(target, inode)
                self._name(source, None)
            case Link(source, target):
                self._name(target, self.names[source])
            case Unlink(name):
                self._name(name, None)
            case Fsync(path):
                self._sync(path)
            case Acknowledge():
                pass

    def _name(self, name: str, inode: _Inode | None) -> None:
        if inode is None:
            self.names.pop(name, None)
        else:
            self.names[name] = inode
        self.open.append((name, inode))

    def _sync(self, path: str) -> None:
        if path in self.names:
            self.names[path].safe = self.names[path].data
            return
        still_open = []
        for name, inode in self.open:
            if os.path.dirname(name) != path:  # noqa: PTH120
                still_open.append((name, inode))
            elif inode is None:
                self.safe_names.pop(name, None)
            else:
                self.safe_names[name] = inode
        self.open = still_open

    def trees(self) -> Iterator[dict[str, bytes]]:
        """Every tree that a cut now may leave."""
        dirty = [inode for inode in {id(i): i for i in self._inodes()}.values() if inode.data != inode.safe]
        fates = list(itertools.product(*([i.safe, i.data[: len(i.data) // 2], i.data] for i in dirty)))
        for kept in _subsets(self.open):
            names = dict(self.safe_names)
            for name, inode in kept:
                if inode is None:
                    names.pop(name, None)
                else:
                    names[name] = inode
            for fate in fates:
                contents = {id(inode): data for inode, data in zip(dirty, fate, strict=True)}
                yield {name: contents.get(id(inode), inode.safe) for name, inode in names.items()}

    def _inodes(self) -> Iterator[_Inode]:
        yield from self.safe_names.values()
        yield from self.names.values()
        yield from (inode for _, inode in self.open if inode is not None)


def _subsets(items: Sequence[tuple[str, _Inode | None]]) -> Iterator[tuple[tuple[str, _Inode | None], ...]]:
    if len(items) > MOST_CHOICES:
        raise AssertionError(f"{len(items)} unsafe names at once: does anything fsync its directory?")
    for mask in range(1 << len(items)):
        yield tuple(item for index, item in enumerate(items) if mask >> index & 1)


def cut_everywhere(
    operations: Sequence[Operation], root: Path, look: Callable[[Path, set[str]], None]
) -> int:
    """Cut the power after every operation, in every way; `look(root, acknowledged)` judges each tree.

    The tree is laid out at `root` itself, so that paths inside files hold. Returns how many.
    """
    disk, acknowledged, count = Disk(), set[str](), 0
    seen: set[tuple[object, ...]] = set()
    for operation in operations:
        disk.do(operation)
        if isinstance(operation, Acknowledge):
            acknowledged.add(operation.what)
        for tree in disk.trees():
            key = (frozenset(acknowledged), frozenset(tree.items()))
            if key in seen:
                continue
            seen.add(key)
            _lay_out(tree, root)
            look(root, acknowledged)
            count += 1
    return count


def _lay_out(tree: dict[str, bytes], root: Path) -> None:
    shutil.rmtree(root, ignore_errors=True)
    for name, data in tree.items():
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
