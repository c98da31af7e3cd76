"""Debian's archive, reached the way the build machine reaches it.

Mirrors, proxies and certificates come from the build machine's apt configuration. State is private:
other suites and udebs are fetched without touching the machine's own package lists, and apt still
checks every signature.
"""

from __future__ import annotations

import email.utils
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blockhost.command import run
from blockhost.errors import BlockhostError, CommandFailed
from iso_builder.progress import Progress

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
OS_RELEASE = Path("/etc/os-release")
DOWNLOAD_TIMEOUT_S = 1800
# Settings of the build machine's apt that a foreign root needs as well.
INHERITED = re.compile(
    r'^(Acquire::(?:(?:http|https)::.*|Check-Valid-Until|Check-Date|Retries|ForceIPv4|ForceIPv6)) "(.*)";$'
)
INRELEASE = re.compile(r"^'(\S+)/dists/(\S+)/InRelease'", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Source:
    """One line of a sources.list."""

    uri: str
    release: str
    components: str = "main"

    def line(self) -> str:
        """As apt reads it."""
        return f"deb [signed-by={KEYRING}] {self.uri} {self.release} {self.components}"


def sources(codename: str) -> tuple[Source, ...]:
    """Where this suite comes from: the places where the build machine's own suite comes from.

    The security and updates suites are used where the build machine uses its own ones.

    Raises:
        BlockhostError: the build machine's apt knows no Debian archive.
    """
    own = _own_codename()
    # What an update would fetch: known from the sources alone, before any list is there.
    listing = run(["apt-get", "update", "--print-uris", "-o", "Debug::NoLocking=true"])
    places = {release: uri for uri, release in INRELEASE.findall(listing)}
    if own not in places:
        raise BlockhostError(
            f"apt on this machine has no source for {own}", hint="Add Debian's archive to its sources"
        )
    suffixes = [suffix for suffix in ("", "-updates", "-security") if own + suffix in places]
    return tuple(Source(places[own + suffix], codename + suffix) for suffix in suffixes)


def inherited_settings() -> tuple[str, ...]:
    """Proxy, certificate and clock settings of the build machine, as `Name "value"` for an apt.conf."""
    dump = run(["apt-config", "dump"])
    found = (INHERITED.match(line) for line in dump.splitlines())
    return tuple(f'{match[1]} "{match[2]}"' for match in found if match and match[2])


class PrivateApt:
    """apt with lists of its own for one set of sources."""

    def __init__(self, top: Path, codename: str) -> None:
        self.top = top
        self.codename = codename
        self.sources = sources(codename)
        for name in ("state/lists/partial", "cache/archives/partial"):
            (top / name).mkdir(parents=True, exist_ok=True)
        (top / "status").touch()
        first = self.sources[0]
        with_udebs = Source(first.uri, first.release, "main main/debian-installer")
        lines = [with_udebs.line(), *(source.line() for source in self.sources[1:])]
        (top / "sources.list").write_text("\n".join(lines) + "\n")

    def update(self, progress: Progress) -> None:
        """Refresh the lists; without a network the lists of the last time serve.

        Raises:
            CommandFailed: there are no lists at all.
        """
        try:
            run(self._argv("update"), timeout=DOWNLOAD_TIMEOUT_S)
        except CommandFailed:
            if not any((self.top / "state/lists").glob("*_Packages*")):
                raise
            progress.note("package lists could not be refreshed; using those of the last build")

    def date(self) -> int:
        """Seconds since the epoch at which Debian released the suite's current point release."""
        for path in (self.top / "state/lists").glob(f"*_dists_{self.codename}_InRelease"):
            match = re.search(r"^Date: (.*)$", path.read_text(errors="replace"), re.MULTILINE)
            if match:
                return int(email.utils.parsedate_to_datetime(match[1]).timestamp())
        raise BlockhostError(f"no release file of {self.codename} in {self.top}")

    def resolve(self, packages: Sequence[str]) -> list[str]:
        """`name=version` of everything that gets installed for these packages in an empty root."""
        return self._simulate("?essential", "apt", *packages)

    def versions(self, packages: Sequence[str]) -> list[str]:
        """`name=version` of exactly these packages (udebs too).

        Raises:
            BlockhostError: the archive lacks some of them; all are named.
        """
        text = run([*self._argv("show", program="apt-cache"), "--no-all-versions", *packages])
        found = dict(re.findall(r"^Package: (\S+)\n(?:.*\n)*?Version: (\S+)$", text, re.MULTILINE))
        if missing := [package for package in packages if package not in found]:
            raise BlockhostError(f"{self.codename} has no {', '.join(missing)}")
        return [f"{package}={found[package]}" for package in packages]

    def download(self, packages: Sequence[str], to: Path) -> None:
        """Fetch packages (udebs too) into a directory."""
        run([*self._argv("download"), *packages], cwd=to, timeout=DOWNLOAD_TIMEOUT_S)

    def _simulate(self, *packages: str) -> list[str]:
        argv = [*self._argv("install"), "--simulate", "--no-install-recommends", *packages]
        found = re.findall(r"^Inst (\S+) \((\S+) ", run(argv, timeout=120), re.MULTILINE)
        return sorted(f"{name}={version}" for name, version in found)

    def _argv(self, verb: str, *, program: str = "apt-get") -> list[str]:
        settings = (
            f"Dir::State={self.top}/state",
            f"Dir::State::status={self.top}/status",
            f"Dir::Cache={self.top}/cache",
            f"Dir::Etc::sourcelist={self.top}/sources.list",
            "Dir::Etc::sourceparts=/dev/null",
            "APT::Architecture=amd64",
            "Acquire::Languages=none",
            "APT::Sandbox::User=root",
        )
        return [program, "-q", verb, *(part for setting in settings for part in ("-o", setting))]


def _own_codename() -> str:
    match = re.search(r'^VERSION_CODENAME="?([a-z]+)', OS_RELEASE.read_text(), re.MULTILINE)
    if not match:
        raise BlockhostError("this machine's Debian release is unknown", hint="Build on Debian 12 or 13")
    return match[1]
