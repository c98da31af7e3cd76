"""Manners that every command of every package has: on a sound host, on a broken one, and when misused.

`LINES` has a line for each command and subcommand that the packages install, and a test that says so:
a new one must come here. Each line runs in many situations; never may there be a traceback, a
complaint without the command's name, or an error without a word about what to try.
"""

from __future__ import annotations

import argparse
import datetime
import gc
import itertools
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from blockhost.framing import FrameServer
from testing.fixtures import whole_host
from testing.fixtures.forked import Ended, forked
from testing.fixtures.installed_commands import Leaf, commands, leaves, parser_of, subcommands

TOP = Path(__file__).resolve().parents[2]
OWNER = whole_host.OWNER
ANSWERS = str(TOP / "testing/answers/local-libvirt.yaml")
SIGNATURE = "U1NIU0lH"
VM, SLEEPING = "blockhost-001", "blockhost-002"

#: What each command is told when it has everything it needs. {root} is the host's root.
LINES: dict[str, list[str]] = {
    "ab": ["list", "add pal {owner}", "up friend {owner}", "del friend", "new pal"],
    "bhcrypt": [
        "encrypt-symmetric --signature x --plaintext y",
        "decrypt-symmetric --signature x --ciphertext 0x00",
        "decrypt --private-key-file {root}/owner --ciphertext-file {root}/sealed.age",
        "generate-keypair", "derive-pubkey", "key-to-address",
    ],
    "blockhost-agent": ["call ping", "list", "log verify"],
    "blockhost-build-template": [""],
    "blockhost-clock": ["show", "trust"],
    "blockhost-generate-signup": ["--output -"],
    "blockhost-local": [
        "grant {root}/owner.pub --plan basic --days 3", "extend 1 --days 3", "revoke 1",
        "transfer 1 {root}/owner.pub", "show 1", "list", "plans", "withdraw basic", "offer basic",
    ],
    "blockhost-mint-nft": ["--owner-wallet {owner}"],
    "blockhost-otp": [""],
    "blockhost-provisioner-detect": [""],
    "blockhost-setup": [
        f"validate {ANSWERS}", "schema", "sign --key {root}/owner", f"plan {ANSWERS}",
        f"apply {ANSWERS} --url https://127.0.0.1:9 --timeout 1", "status", "logs", "retry", "reset",
        "export", "verify", "bundle -o {root}/bundle.tar.gz",
    ],
    "blockhost-subscriptions": ["list", "show 1", "retry 1", "drop 1"],
    "blockhost-vm-create": ["web --owner-wallet {owner}", "web --owner-wallet {owner} --apply --wait 1"],
    "blockhost-vm-destroy": [VM],
    "blockhost-vm-gc": ["", "--execute"],
    "blockhost-vm-guest-exec": [f"{VM} hostname"],
    "blockhost-vm-kill": [VM],
    "blockhost-vm-list": ["", "--metrics"],
    "blockhost-vm-metrics": [VM],
    "blockhost-vm-resume": [f"{SLEEPING} --extend-days 3"],
    "blockhost-vm-start": [VM],
    "blockhost-vm-status": [VM],
    "blockhost-vm-stop": [VM],
    "blockhost-vm-throttle": [f"{VM} --cpu-quota 50"],
    "blockhost-vm-update-gecos": [f"{VM} {{owner}} --nft-id 3"],
    "blockhost-vmdb": [
        f"get-vm {VM}", "list", f"extend-expiry {VM} 3", f'update-fields {VM} --fields {{"purpose":"mail"}}',
        f"mark-nft-minted {VM} 3", "export", "import {root}/export.json --replace", "check",
    ],
    "bw": [
        "who admin", "who 0", f"who message {SIGNATURE}", "plan create big 100", "set encrypt 0 0x00",
        "config stable", "send", "balance", "split", "withdraw", "swap",
    ],
    "is": ["{owner} 0"],
}  # fmt: skip
#: Subcommands that have no line, and why.
WITHOUT_LINE = {"blockhost-setup worker": "a service: it runs until it is told to end"}
#: First words that answer before any other word is read: this engine has nothing of the kind.
REFUSED = {"bw": {"send", "balance", "split", "withdraw", "swap"},
           "bhcrypt": {"generate-keypair", "derive-pubkey", "key-to-address"}}  # fmt: skip


def named(leaf: Leaf) -> str:
    return leaf.name


LEAVES = pytest.mark.parametrize("leaf", leaves(), ids=named)
ALL_LINES = [f"{name} {words}".strip() for name, each in LINES.items() for words in each]
EACH_LINE = pytest.mark.parametrize("line", ALL_LINES)
#: Every line in every situation takes a minute; a third of them, another one each day, does for a commit.
ONE_OF = 1 if os.environ.get("MANNERS") == "all" else 3


def each_line_in(*situations: str) -> pytest.MarkDecorator:
    """Today's sample of (line, situation); all of them with MANNERS=all."""
    today = datetime.date.today().toordinal()
    pairs = [
        (line, situation)
        for number, (line, situation) in enumerate(itertools.product(ALL_LINES, situations))
        if (number + number // len(situations) + today) % ONE_OF == 0
    ]
    return pytest.mark.parametrize(("line", "situation"), pairs)


def test_every_command_and_subcommand_has_a_line() -> None:
    assert sorted(set(commands()) ^ set(LINES)) == []
    given = [line.split() for line in ALL_LINES]
    absent = [
        leaf.name
        for leaf in leaves()
        if leaf.name not in WITHOUT_LINE
        and not any(words[: len(leaf.words) + 1] == [leaf.command, *leaf.words] for words in given)
    ]
    assert absent == []
    assert len(leaves()) > 60


# --- what each says about itself ---------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_subcommand_is_listed(name: str) -> None:
    """argparse keeps one without a help text to itself."""

    def check(parser: argparse.ArgumentParser) -> None:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                listed = {choice.dest for choice in action._choices_actions}
                assert sorted(set(subcommands(parser)) - listed) == [], parser.prog
        for below in subcommands(parser).values():
            check(below)

    check(parser_of(name))


@LEAVES
def test_purpose_and_every_argument_are_explained(leaf: Leaf) -> None:
    silent = [
        action.metavar or action.dest
        for action in leaf.parser._actions
        if not action.help and leaf.words[:1] not in [(word,) for word in REFUSED.get(leaf.command, ())]
    ]
    assert silent == []
    assert leaf.parser.description
    assert not leaf.parser.allow_abbrev  # or a new option would change what an old script says


@pytest.mark.parametrize("name", sorted(commands()))
def test_version_is_one_line(name: str, host: Host) -> None:
    done = host.run(f"{name} --version")
    assert done.code == 0
    assert done.err == ""
    words = done.out.split()
    assert words[:2] == [name, "(BlockHost)"], done.out
    assert len(done.out.splitlines()) == 1


# --- wrong usage -------------------------------------------------------------------------------


@LEAVES
def test_help_goes_to_stdout(leaf: Leaf, host: Host) -> None:
    done = host.run(f"{leaf.name} --help")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"usage: {leaf.name}")


@LEAVES
def test_an_unknown_option_is_wrong_usage(leaf: Leaf, host: Host) -> None:
    done = host.run(f"{leaf.name} --no-such-option")
    if leaf.words and leaf.words[0] in REFUSED.get(leaf.command, ()):
        assert (done.code, done.out) == (1, "")
        return
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"usage: {leaf.command}")
    assert f"{leaf.command}" in done.err.splitlines()[-1]


@LEAVES
def test_missing_and_bad_values_are_wrong_usage(leaf: Leaf, host: Host) -> None:
    """What is required is asked for; a number that is none, or a word not among the choices, is refused."""
    misuses = []
    if any(action.required and action.nargs != "*" for action in leaf.parser._actions):
        misuses.append("")
    good = next((line.split(" ", 1)[-1] for line in ALL_LINES if line.startswith(leaf.name)), "")
    rest = good.split()[len(leaf.words) :] if good != leaf.command else []
    for action in leaf.parser._actions:
        if action.option_strings and (action.choices or action.type in (int, float)):
            misuses.append(" ".join([action.option_strings[-1], "no-such-value", *rest]))
    for words in misuses:
        if leaf.words and leaf.words[0] in REFUSED.get(leaf.command, ()):
            continue
        done = host.run(f"{leaf.name} {words}")
        assert (done.code, done.out) == (2, ""), (words, done)
        assert "usage: " in done.err


# --- situations --------------------------------------------------------------------------------


class Host:
    """A copy of the whole host, and commands that run in it."""

    def __init__(self, root: Path, patch: pytest.MonkeyPatch) -> None:
        self.root = root
        patch.setenv("BLOCKHOST_ROOT", str(root))

    def run(self, line: str, **situation: Any) -> Ended:
        name, *words = line.replace("{root}", str(self.root)).replace("{owner}", OWNER).split()
        return forked(commands()[name], [name, *words], **situation)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, whole_host.Agent]]:
    folder = tmp_path_factory.mktemp("h")
    root = folder / "r"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "owner"], check=True)
    agent = whole_host.Agent()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BLOCKHOST_ROOT", str(root))
        patch.setenv("BLOCKHOST_DRY_RUN", "1")
        patch.setenv("BLOCKHOST_PATH", f"{TOP}/testing/fakes/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        patch.setenv("COLUMNS", "100")
        for name in ("BLOCKHOST_DEV", "LANGUAGE"):
            patch.delenv(name, raising=False)
        whole_host.lay_out(root, (folder / "owner.pub").read_text())
        (root / "owner").write_bytes((folder / "owner").read_bytes())
        (root / "owner").chmod(0o600)
        server = FrameServer(root / "run/blockhost/root-agent.sock", agent)
        server.start()
        gc.collect()
        gc.freeze()  # or each child would copy the pages that the collector touches
        yield root, agent
        gc.unfreeze()
        server.close()


@pytest.fixture
def host(template: tuple[Path, whole_host.Agent], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    root, agent = template
    agent.says = "well"
    return Host(whole_host.copy_of(root, tmp_path / "h"), monkeypatch)


def complaint(line: str, done: Ended) -> list[str]:
    """What is wrong with how a command failed, or with what it says though it did not."""
    name = line.split(maxsplit=1)[0]
    told = done.err.splitlines()
    wrong = [
        word for word in ("Traceback", "Exception ignored", "[Errno", "internal error") if word in done.err
    ]
    if done.code not in (0, 1, 255 if "guest-exec" in line else 0):
        wrong.append(f"exit code {done.code}")
    # The result of a check is its own explanation.
    if done.code and not done.out and not any(each.startswith((f"{name}: ", f"{name} ")) for each in told):
        wrong.append("does not say who complains")
    return wrong


#: Lines that fail on a sound host, too: what they ask for is not there.
FAIL_ANYWHERE = {
    *(f"{name} {word}" for name, words in REFUSED.items() for word in words),
    "ab new pal", "bw config stable", f"bw who message {SIGNATURE}",
    "bhcrypt encrypt-symmetric --signature x --plaintext y",
    "bhcrypt decrypt-symmetric --signature x --ciphertext 0x00",
    "blockhost-build-template",
    f"blockhost-setup apply {ANSWERS} --url https://127.0.0.1:9 --timeout 1",
    *(f"blockhost-setup {verb}" for verb in ("status", "logs", "retry", "reset", "export", "verify")),
}  # fmt: skip


@EACH_LINE
def test_on_a_sound_host(line: str, host: Host) -> None:
    done = host.run(line)
    assert complaint(line, done) == [], done
    assert (done.code == 0) == (line not in FAIL_ANYWHERE), done


def _no_host(host: Host) -> None:
    for folder in ("etc/blockhost", "var/lib/blockhost", "run/blockhost", "usr/share/blockhost"):
        for path in sorted((host.root / folder).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (host.root / folder).rmdir()


def _no_agent(host: Host) -> None:
    (host.root / "run/blockhost/root-agent.sock").unlink()


def _no_books(host: Host) -> None:
    for path in (host.root / "var/lib/blockhost").glob("*.db*"):
        path.unlink()


def _damage(host: Host) -> None:
    for folder in ("etc/blockhost", "var/lib/blockhost", "usr/share/blockhost"):
        for path in (host.root / folder).rglob("*"):
            if path.is_file():
                path.write_bytes(b"\xff\x00 no longer what it was: {[" * 100)


def _empty(host: Host) -> None:
    for folder in ("etc/blockhost", "var/lib/blockhost"):
        for path in (host.root / folder).rglob("*"):
            if path.is_file():
                path.write_bytes(b"")


def _folders_for_files(host: Host) -> None:
    for folder in ("etc/blockhost", "var/lib/blockhost"):
        for path in (host.root / folder).rglob("*"):
            if path.is_file():
                path.unlink()
                path.mkdir()


SITUATIONS = {
    "nothing is there": _no_host,
    "no agent": _no_agent,
    "no books": _no_books,
    "damaged files": _damage,
    "empty files": _empty,
    "folders for files": _folders_for_files,
}


@each_line_in(*SITUATIONS)
def test_on_a_broken_host(line: str, situation: str, host: Host) -> None:
    SITUATIONS[situation](host)
    done = host.run(line)
    assert complaint(line, done) == [], done
    assert done.code == 0 or helps(line, done), f"says nothing about what to try: {done.err}"


@each_line_in("libvirt down", "nonsense")
def test_when_the_agent_fails(
    line: str, situation: str, host: Host, template: tuple[Path, whole_host.Agent]
) -> None:
    template[1].says = situation
    done = host.run(line)
    assert complaint(line, done) == [], done
    assert done.code == 0 or helps(line, done), f"says nothing about what to try: {done.err}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
@each_line_in("nobody")
def test_without_rights(line: str, situation: str, host: Host) -> None:
    done = host.run(line, is_nobody=situation == "nobody")
    assert complaint(line, done) == [], done
    assert done.code == 0 or helps(line, done), f"says nothing about what to try: {done.err}"


@each_line_in("closed")
def test_when_the_reader_has_gone(line: str, situation: str, host: Host) -> None:
    """`| head -1`: silence."""
    done = host.run(line, stdout=situation)
    assert "roken pipe" not in done.err
    assert done.code == 1 or complaint(line, done) == [], done


@each_line_in("/dev/full")
def test_when_the_disk_of_the_output_is_full(line: str, situation: str, host: Host) -> None:
    done = host.run(line, stdout=situation)
    assert complaint(line, done) == [], done


@each_line_in("open", "socket.connect", "sqlite3.connect", "subprocess.Popen")
def test_ctrl_c(line: str, situation: str, host: Host) -> None:
    """When the command does something of that name for the first time (the audit events of sys)."""
    done = host.run(line, interrupt_at=situation)
    assert "Traceback" not in done.err
    assert "Exception" not in done.err
    if done.code not in (130, -2):  # that did not happen, or came when there was nothing left to do
        assert complaint(line, done) == [], done


def helps(line: str, done: Ended) -> bool:
    """Whether a failure says what to try, is a checker's finding, or is about a file that the line names."""
    given = [word.rpartition("/")[2] for word in line.split() if "/" in word]
    return len(done.err.splitlines()) > 1 or bool(done.out) or any(f"{name}: " in done.err for name in given)


# --- for programs ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "leaf",
    [
        leaf
        for leaf in leaves()
        if any("--format" in action.option_strings for action in leaf.parser._actions)
    ],
    ids=named,
)
def test_json_is_json(leaf: Leaf, host: Host) -> None:
    lines = [line for line in ALL_LINES if line.split()[: len(leaf.words) + 1] == [leaf.command, *leaf.words]]
    for line in lines:
        done = host.run(f"{line} --format json")
        if done.code == 0 or done.out:
            for each in done.out.splitlines() if leaf.words == ("logs",) else [done.out]:
                json.loads(each)
