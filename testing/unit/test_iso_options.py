"""What the builder refuses, its version, and who may log in."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from blockhost.errors import BlockhostError
from iso_builder import options, ssh_key, version
from iso_builder.medium import Menu
from iso_builder.own_layer import Wishes
from iso_builder.version import Version

REQUIRED = ["--backend", "libvirt", "--engine", "local"]


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["--backend", "libvirt"],
        [*REQUIRED, "--suite", "sid"],
        [*REQUIRED, "--method", "zfs"],
        ["--backend", "../x", "--engine", "local"],
        [*REQUIRED, "--nonsense"],
    ],
)
def test_a_wrong_command_line_is_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        options.parse(argv)
    assert refusal.value.code == 2
    assert "build-iso.sh: error:" in capsys.readouterr().err


def test_the_cache_can_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKHOST_BUILD_CACHE", str(tmp_path))
    assert options.parse(REQUIRED).cache_dir == tmp_path


def test_nobody_logs_in_by_default(tmp_path: Path) -> None:
    assert ssh_key.public_keys(None, testing=False, build_dir=tmp_path) == ()
    assert list(tmp_path.iterdir()) == []


def test_a_testing_key_is_made_once_and_private(tmp_path: Path) -> None:
    first = ssh_key.public_keys(None, testing=True, build_dir=tmp_path)
    assert first == ssh_key.public_keys(None, testing=True, build_dir=tmp_path)
    assert first[0].startswith("ssh-ed25519 ")
    assert (tmp_path / ssh_key.NAME).stat().st_mode & 0o777 == 0o600


def test_a_given_key_is_the_only_one(tmp_path: Path) -> None:
    ssh_key.public_keys(None, testing=True, build_dir=tmp_path)
    given = tmp_path / "mine.pub"
    given.write_text("ssh-ed25519 AAAA me\n")
    assert ssh_key.public_keys(given, testing=True, build_dir=tmp_path) == ("ssh-ed25519 AAAA me",)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("-----BEGIN OPENSSH " + "PRIVATE KEY-----\nAAAA\n", "private key"),
        ("", "not one public SSH key"),
        ("ssh-ed25519 A\nssh-ed25519 B\n", "not one public SSH key"),
        ("hello\n", "not one public SSH key"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_public_key_is_refused(tmp_path: Path, content: str | None, problem: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BlockhostError, match=problem):
        ssh_key.public_keys(path, testing=False, build_dir=tmp_path)


def git(repository: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", repository, *identity, *arguments], check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    git(tmp_path, "init", "-q")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [0.3.1] - 2026-01-01\n\n## 0.2.0\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "x", "--date", "2026-01-01T00:00:00Z")
    return tmp_path


def test_a_version_names_release_and_commit(repository: Path) -> None:
    found = version.current(repository)
    assert found.name.startswith("0.3.1+")
    (repository / "CHANGELOG.md").write_text("## 0.3.1\nchanged\n")
    assert version.current(repository).name == f"{found.name}.dirty"
    assert version.current(repository).epoch == found.epoch


def test_a_tag_is_the_version(repository: Path) -> None:
    git(repository, "tag", "v0.4.0")
    assert version.current(repository).name == "0.4.0"


def test_outside_a_checkout_the_time_must_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    with pytest.raises(BlockhostError, match="no git checkout"):
        version.current(tmp_path)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert version.current(tmp_path) == Version("0.1.0", 1_700_000_000)


@pytest.mark.parametrize(("serial_first", "last"), [(True, "ttyS0,115200n8"), (False, "tty0")])
def test_the_installer_draws_on_the_last_console(serial_first: bool, last: str) -> None:
    text = Menu("lvm", serial_first=serial_first).text()
    kernel = next(line for line in text.splitlines() if "linux" in line)
    assert kernel.split("console=")[-1] == last
    assert "set default=lvm" in text
    assert "@" not in text


def test_every_wish_shows_in_the_key(tmp_path: Path) -> None:
    package = tmp_path / "a.deb"
    package.write_text("one")
    answers = tmp_path / "answers.yaml"
    answers.write_text("version: 1\n")
    base = Version("1", 1)
    wishes = [
        Wishes(base),
        Wishes(Version("2", 1)),
        Wishes(base, testing=True),
        Wishes(base, host_packages=(package,)),
        Wishes(base, answers=answers),
        Wishes(base, public_keys=("ssh-ed25519 A",)),
    ]
    keys = [str(wish.key()) for wish in wishes]
    package.write_text("two")
    keys.append(str(wishes[3].key()))
    assert len(set(keys)) == len(keys)
