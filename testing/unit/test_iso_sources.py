"""Where packages come from: the build machine's own apt, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockhost.errors import BlockhostError
from iso_builder import apt

PLAIN = "'http://mirror.example/debian/dists/bookworm/InRelease' mirror_InRelease 0"
UPDATES = "'http://mirror.example/debian/dists/bookworm-updates/InRelease' mirror_InRelease 0"
SECURITY = "'https://sec.example/debian-security/dists/bookworm-security/InRelease' sec_InRelease 0"
FOREIGN = "'https://other.example/apt/dists/nodistro/InRelease' other_InRelease 0"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Debian 12 whose apt prints what the files `uris` and `config` say."""
    for program, file in (("apt-get", "uris"), ("apt-config", "config")):
        (tmp_path / program).write_text(f"#!/bin/sh\ncat {tmp_path}/{file}\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_CODENAME="bookworm"\n')
    monkeypatch.setattr(apt, "OS_RELEASE", tmp_path / "os-release")
    monkeypatch.setenv("BLOCKHOST_PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path


def test_another_release_comes_from_the_places_of_the_machines_own(machine: Path) -> None:
    (machine / "uris").write_text("\n".join([FOREIGN, PLAIN, UPDATES, SECURITY]) + "\n")
    assert [source.line().split("] ")[1] for source in apt.sources("trixie")] == [
        "http://mirror.example/debian trixie main",
        "http://mirror.example/debian trixie-updates main",
        "https://sec.example/debian-security trixie-security main",
    ]


def test_a_machine_without_security_updates_builds_without_them(machine: Path) -> None:
    (machine / "uris").write_text(PLAIN + "\n")
    assert [source.release for source in apt.sources("trixie")] == ["trixie"]


def test_a_machine_without_debians_archive_is_told_so(machine: Path) -> None:
    (machine / "uris").write_text(FOREIGN + "\n")
    with pytest.raises(BlockhostError, match="no source for bookworm"):
        apt.sources("trixie")


def test_proxy_and_certificates_are_inherited(machine: Path) -> None:
    (machine / "config").write_text(
        'APT::Architecture "amd64";\n'
        'Acquire::http::Proxy "http://proxy.example:3128";\n'
        'Acquire::https::CaInfo "/etc/ssl/own.pem";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'Acquire::http "";\n'
        'Dir "/";\n'
    )
    assert apt.inherited_settings() == (
        'Acquire::http::Proxy "http://proxy.example:3128"',
        'Acquire::https::CaInfo "/etc/ssl/own.pem"',
        'Acquire::Check-Valid-Until "false"',
    )
