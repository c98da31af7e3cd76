"""d-i components: merging udebs into an initrd's tree and its package list.

d-i's main menu reads `/var/lib/dpkg/status`: an item appears when its stanza says "unpacked" and every
dependency is met by a name or a `Provides`. An unmet one makes the item vanish silently, so it is an
error here.
"""

from __future__ import annotations

import io
import re
import stat
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from blockhost.command import start
from blockhost.errors import BlockhostError, CommandFailed
from iso_builder.cpio import Entry, Tree

INFO = "var/lib/dpkg/info/"
STATUS = "var/lib/dpkg/status"
KEPT_FIELDS = ("Version", "Provides", "Depends", "Description", "Installer-Menu-Item")
MERGED_DIRECTORIES = ("bin", "sbin", "lib", "lib64")
MERGED = re.compile(rf"({'|'.join(MERGED_DIRECTORIES)})/")
TRANSLATION = re.compile(
    r"^[A-Za-z_]+-[a-z]{2,3}(_[A-Z]{2})?(@[a-z]+)?\.UTF-8:.*\n([ \t].*\n)*", re.MULTILINE
)
READ_AS_PIPE = -1  # subprocess.PIPE

Stanzas = dict[str, str]


def merged_path(path: str) -> str:
    """The path on a merged-usr system: some udebs still ship /bin and /lib."""
    path = path.removeprefix("./").strip("/")
    return f"usr/{path}" if MERGED.match(path) else path


def open_deb(package: Path, part: str) -> tarfile.TarFile:
    """One of a package's two archives: `--fsys-tarfile` (files) or `--ctrl-tarfile` (control files)."""
    process = start(["dpkg-deb", part, package], stdout=READ_AS_PIPE)
    assert process.stdout is not None
    with process.stdout as pipe:
        content = pipe.read()
    if process.wait() != 0:
        raise CommandFailed(
            "dpkg-deb", process.returncode, reason=f"{package.name} is not a readable package"
        )
    return tarfile.open(fileobj=io.BytesIO(content))


def parse_stanzas(status: str) -> Stanzas:
    """The stanzas of a dpkg status file by package name."""
    found: Stanzas = {}
    for stanza in status.strip().split("\n\n"):
        match = re.match(r"Package: (\S+)", stanza)
        if not match:
            raise BlockhostError(f"not a package stanza: {stanza[:60]!r}")
        found[match[1]] = stanza
    return found


def format_stanzas(stanzas: Mapping[str, str]) -> str:
    """A dpkg status file."""
    return "\n\n".join(stanzas.values()) + "\n\n"


def stanza_from_control(package: str, control: str) -> str:
    """What the main menu needs of a udeb's control file, as an unpacked package."""
    pattern = rf"^(?:{'|'.join(KEPT_FIELDS)}):.*"
    return "\n".join(
        [f"Package: {package}", "Status: install ok unpacked", *re.findall(pattern, control, re.MULTILINE)]
    )


def pseudo_stanza(
    package: str,
    *,
    status: str = "unpacked",
    title: str = "",
    item: int = 0,
    provides: str = "",
    depends: str = "",
) -> str:
    """The stanza of a component that is ours and comes from no udeb."""
    lines = [f"Package: {package}", f"Status: install ok {status}", "Version: 99"]
    lines += [f"Provides: {provides}"] if provides else []
    lines += [f"Depends: {depends}"] if depends else []
    lines += [f"Description: {title}"] if title else []
    lines += [f"Installer-Menu-Item: {item}"] if item else []
    return "\n".join(lines)


def merge(tree: Tree, stanzas: Stanzas, package: str, file: Path) -> None:
    """Unpack a udeb into the tree as if d-i had fetched it."""
    with open_deb(file, "--fsys-tarfile") as files:
        for member in files:
            if (member.isfile() or member.islnk()) and (content := files.extractfile(member)):
                tree[merged_path(member.name)] = Entry(stat.S_IFREG | member.mode, content.read())
            elif member.issym():
                tree[merged_path(member.name)] = Entry(stat.S_IFLNK | 0o777, member.linkname.encode())
    with open_deb(file, "--ctrl-tarfile") as controls:
        for member in controls:
            name = merged_path(member.name)
            content = controls.extractfile(member) if member.isfile() else None
            if content is None or name == "md5sums":
                continue
            data = content.read()
            if name == "control":
                stanzas[package] = stanza_from_control(package, data.decode())
            else:
                tree[f"{INFO}{package}.{name}"] = Entry(stat.S_IFREG | member.mode, data)


def remove(tree: Tree, stanzas: Stanzas, packages: Iterable[str]) -> None:
    """Forget components: their stanzas and control files. Their programs go by path."""
    gone = set(packages)
    for package in gone:
        stanzas.pop(package, None)
    for path in [path for path in tree if path.startswith(INFO)]:
        if path.removeprefix(INFO).rpartition(".")[0] in gone:
            del tree[path]


def unmet(stanzas: Mapping[str, str]) -> list[str]:
    """`package: dependency` for everything that the main menu would silently skip."""
    names = set(stanzas)
    for stanza in stanzas.values():
        for provides in re.findall(r"^Provides: (.*)", stanza, re.MULTILINE):
            names |= {name.split()[0] for name in provides.split(",")}
    return [
        f"{package}: {group.strip()}"
        for package, stanza in stanzas.items()
        for depends in re.findall(r"^Depends: (.*)", stanza, re.MULTILINE)
        for group in depends.split(",")
        if not any(name.split()[0] in names for name in group.split("|"))
    ]


def strip_translations(tree: Tree) -> None:
    """Drop translated texts: nine tenths of what d-i would parse at every boot."""
    for path, entry in tree.items():
        if path.endswith(".templates"):
            text = entry.data.decode("utf-8", "replace")
            tree[path] = Entry(entry.mode, TRANSLATION.sub("", text).encode())
