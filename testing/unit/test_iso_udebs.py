"""Merging d-i components: files, stanzas, and the menu's silent skipping made loud."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from blockhost.errors import BlockhostError, CommandFailed
from iso_builder import cpio, udebs

CONTROL = """\
Package: partman-sample
Version: 1.2
Architecture: all
Maintainer: Nobody <nobody@example.org>
Provides: made-filesystems
Depends: partman-base, di-utils (>= 1.9) | other
Description: a sample
 with a long text
Installer-Menu-Item: 4200
"""


@pytest.fixture
def udeb(tmp_path: Path) -> Path:
    """A real package that ships a file outside /usr, as some udebs do."""
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(CONTROL)
    (root / "DEBIAN/postinst").write_text("#!/bin/sh\n")
    (root / "DEBIAN/postinst").chmod(0o755)
    (root / "bin").mkdir()
    (root / "bin/sample").write_text("#!/bin/sh\n")
    (root / "bin/sample").chmod(0o755)
    (root / "lib").mkdir()
    (root / "lib/alias").symlink_to("sample")
    target = tmp_path / "partman-sample_1.2_all.udeb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", root, target], check=True, capture_output=True)
    return target


def test_a_udeb_lands_as_if_the_installer_had_fetched_it(udeb: Path) -> None:
    tree: cpio.Tree = {}
    stanzas: udebs.Stanzas = {}
    udebs.merge(tree, stanzas, "partman-sample", udeb)
    assert tree["usr/bin/sample"] == cpio.regular(b"#!/bin/sh\n", executable=True)
    assert tree["usr/lib/alias"] == cpio.link("sample")
    assert tree["var/lib/dpkg/info/partman-sample.postinst"].mode & 0o111
    assert stanzas["partman-sample"].splitlines() == [
        "Package: partman-sample",
        "Status: install ok unpacked",
        "Version: 1.2",
        "Provides: made-filesystems",
        "Depends: partman-base, di-utils (>= 1.9) | other",
        "Description: a sample",
        "Installer-Menu-Item: 4200",
    ]


def test_a_damaged_package_is_named(tmp_path: Path) -> None:
    damaged = tmp_path / "broken_1_all.udeb"
    damaged.write_bytes(b"not a package")
    with pytest.raises(CommandFailed, match=r"broken_1_all\.udeb"):
        udebs.merge({}, {}, "broken", damaged)


def test_stanzas_survive_reading_and_writing() -> None:
    text = "Package: a\nStatus: install ok unpacked\n\nPackage: b\nProvides: c\n\n"
    assert udebs.format_stanzas(udebs.parse_stanzas(text)) == text


def test_a_status_file_of_something_else_is_refused() -> None:
    with pytest.raises(BlockhostError, match="not a package stanza"):
        udebs.parse_stanzas("hello\n")


def test_every_unmet_dependency_is_named() -> None:
    stanzas = {
        "one": "Package: one\nDepends: two, three (>= 1) | four, five",
        "two": "Package: two\nProvides: four",
        "six": "Package: six\nDepends: seven",
    }
    assert udebs.unmet(stanzas) == ["one: five", "six: seven"]


def test_a_removed_component_leaves_no_control_files() -> None:
    tree = {
        "var/lib/dpkg/info/netcfg.postinst": cpio.regular(b""),
        "var/lib/dpkg/info/netcfg-extra.postinst": cpio.regular(b""),
    }
    stanzas = {"netcfg": "Package: netcfg", "netcfg-extra": "Package: netcfg-extra"}
    udebs.remove(tree, stanzas, ["netcfg"])
    assert list(stanzas) == ["netcfg-extra"]
    assert list(tree) == ["var/lib/dpkg/info/netcfg-extra.postinst"]


@pytest.mark.parametrize(
    ("shipped", "merged"),
    [
        ("./bin/sh", "usr/bin/sh"),
        ("lib64/ld.so", "usr/lib64/ld.so"),
        ("./usr/bin/x", "usr/bin/x"),
        ("binary/x", "binary/x"),
        ("./etc/fstab", "etc/fstab"),
    ],
)
def test_paths_of_a_system_without_merged_usr_are_moved(shipped: str, merged: str) -> None:
    assert udebs.merged_path(shipped) == merged


def test_translations_go_and_english_stays() -> None:
    text = (
        "Template: partman/title\nType: text\nDescription: Partition disks\nDescription-de.UTF-8: Platten\n"
        " mehr\nExtended_description-pt_BR.UTF-8: discos\nDefault: x\n"
    )
    tree = {"var/lib/dpkg/info/partman.templates": cpio.regular(text.encode())}
    udebs.strip_translations(tree)
    assert tree["var/lib/dpkg/info/partman.templates"].data.decode() == (
        "Template: partman/title\nType: text\nDescription: Partition disks\nDefault: x\n"
    )
