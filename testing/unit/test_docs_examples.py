"""What the how-tos and the man pages tell a reader to type works, in their order, on a host in a dry run."""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
from pathlib import Path

import pytest

from blockhost.engine_local.ledger import open_ledger, plans
from blockhost.engine_local.ledger.plans import Offer
from blockhost.framing import FrameServer
from blockhost.subscriptions.jobs import JobStore
from blockhost.vm_db import get_database
from testing.fixtures import whole_host
from testing.fixtures.forked import forked
from testing.fixtures.installed_commands import commands

TOP = Path(__file__).resolve().parents[2]
HOW_TO = [
    "docs/how-to/sell-machines.md",
    "docs/how-to/look-after-machines.md",
    "docs/reference/vm-database.md",
]
MAN = sorted(
    str(page.relative_to(TOP)) for page in TOP.glob("docs/man/*.md") if "## Examples" in page.read_text()
)
#: Lines that need what a dry run has not.
ELSEWHERE = ("blockhost-build-template --rebuild", "blockhost-setup verify", "$(")
PAGES = [*HOW_TO, *MAN]


def lines_of(page: str) -> list[str]:
    """The command lines of ours in fenced blocks; those of a man page stand under Examples."""
    text = (TOP / page).read_text()
    if page in MAN:
        text = text.partition("## Examples")[2]
    found = []
    for block in re.findall(r"^```\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        found += [line for line in block.splitlines() if line.split(maxsplit=1)[0] in commands()]
    return [line for line in found if not any(part in line for part in ELSEWHERE)]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The whole host, with the keys that the texts name, just before subscription 7 is granted."""
    root = tmp_path / "r"
    monkeypatch.setenv("BLOCKHOST_ROOT", str(root))
    monkeypatch.setenv("BLOCKHOST_PATH", f"{TOP}/testing/fakes/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    whole_host.lay_out(root, PUBLIC_KEY, subscriptions=6)
    for name in ("alice", "bob", "ann", "new-owner"):
        shutil.copy(root / "owner.pub", root / f"{name}.pub")
    monkeypatch.chdir(root)
    with open_ledger() as book:  # those that the man pages' examples name
        plans.create(book, Offer("Small", 50, 1, 2048, 20))
    with contextlib.closing(get_database()) as database:
        database.register_vm("blockhost-007", 107, "192.0.2.107")
    return root


PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPY5O3kRq9nyyz3vKjnsXrKJqo0hBBuqsBWAMWeJUTHf a test\n"


@pytest.mark.parametrize("page", PAGES)
def test_what_is_written_there_works(page: str, root: Path) -> None:
    server = FrameServer(root / "run/blockhost/root-agent.sock", whole_host.Agent())
    server.start()
    try:
        for line in lines_of(page):
            words = shlex.split(line.replace("SHA256:…", whole_host.OWNER), comments=True)
            stdout: Path | str = ""
            if ">" in words:
                stdout = root / words[words.index(">") + 1]
                stdout.touch()
                words = words[: words.index(">")]
            done = forked(commands()[words[0]], words, stdout=stdout)
            assert done.code == 0, f"{line}: {done}"
            if line.startswith("blockhost-local grant"):
                assert done.out == "7\n"
                with contextlib.closing(JobStore()) as jobs:  # as the monitor makes one
                    jobs.ensure([7])
    finally:
        server.close()


def test_there_are_lines() -> None:
    assert sum(len(lines_of(page)) for page in PAGES) > 25
