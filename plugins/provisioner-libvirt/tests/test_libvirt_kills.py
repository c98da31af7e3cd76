"""`create` killed before any of its calls to the kernel, or told that the disk is full: nothing is lost.

A sample that changes with the day; BLOCKHOST_CREATE_KILLS=50 for more (`make test-vms` does).
"""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from blockhost import paths, root_agent
from blockhost.pipeline.context import StepContext
from blockhost.provisioner_libvirt.cli import create, destroy, gc
from blockhost.provisioner_libvirt.steps import STEPS
from blockhost.vm_db import get_database
from testing.crash.tracing import CHANGING

REPOSITORY = Path(__file__).resolve().parents[3]
OWNER = "SHA256:" + "a" * 43
WORDS = ["vm1", "--owner-wallet", OWNER, "--nft-token-id", "3", "--apply"]
SAMPLE = int(os.environ.get("BLOCKHOST_CREATE_KILLS") or 4)
CALLS = (*CHANGING, "recvfrom", "flock", "close", "openat", "read", "fcntl")
#: Calls that write, and can meet a full disk.
WRITES = ("write", "pwrite64", "fsync", "fdatasync", "ftruncate")
#: A `create` makes more calls than this, or the trace has gone blind.
FEWEST = 75

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
    pytest.mark.timeout(900),
]


@pytest.fixture
def appliance(host: Any, agent: Any) -> Any:
    for step in STEPS:
        step.apply(StepContext(step_id=step.id, config={"provisioner": host.answers}))
    get_database().close()
    return host


def traced(log: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run `create` under strace, itself alone: what the agent does goes on."""
    path = os.pathsep.join(
        str(REPOSITORY / part) for part in ("packages/common", "plugins/provisioner-libvirt")
    )
    return subprocess.run(
        ["strace", "-qq", "-o", str(log), "-e", f"trace={','.join(CALLS)}", *options,
         sys.executable, "-B", "-m", "blockhost.provisioner_libvirt.cli.create", *WORDS],
        env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "0"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def reference(log: Path, calls: tuple[str, ...]) -> list[tuple[str, int]]:
    """The calls of a `create` that is not the host's first: that one makes files which then stay."""
    for _ in range(2):
        assert traced(log).returncode == 0
        assert destroy.main(["vm1"]) == 0
    return points(log, calls)


def points(log: Path, calls: tuple[str, ...]) -> list[tuple[str, int]]:
    """Every call that a run made, numbered by kind, from the first that belongs to `create` itself."""
    lines = log.read_text(errors="replace").splitlines()
    names = [match[1] if (match := re.match(r"(\w+)\(", line)) else "" for line in lines]
    start = names.index("flock")  # the name's lock: before it, Python loads modules
    before = Counter(names[:start])
    total = Counter(names)
    return [(name, n) for name in calls for n in range(before[name] + 1, total[name] + 1)]


def sample(of: list[tuple[str, int]], size: int) -> list[tuple[str, int]]:
    seed = os.environ.get("BLOCKHOST_CRASH_SEED") or datetime.now(UTC).strftime("%Y-%m-%d")
    return random.Random(seed).sample(sorted(of), min(size, len(of)))


def left(host: Any) -> dict[str, object]:
    """What is on the host beside the template."""
    pool = paths.at(host.answers["storage_path"])
    with sqlite3.connect(paths.at("/var/lib/blockhost/vms.db")) as database:
        records = [row[0] for row in database.execute("SELECT vm_name FROM vms WHERE status != 'destroyed'")]
        addresses = [row[0] for row in database.execute("SELECT address FROM addresses")]
    database.close()
    found: dict[str, object] = {
        "domains": root_agent.call("virsh-list")["domains"],
        "files": [file.name for file in pool.iterdir() if not file.name.startswith("blockhost-template-")],
        "records": records,
        "addresses": addresses,
    }
    return {what: value for what, value in found.items() if value}


def test_kills_leave_nothing_behind(
    appliance: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "trace"
    every = reference(log, CALLS)
    assert len(every) >= FEWEST, every
    assert left(appliance) == {}
    killed = 0
    for number, (call, when) in enumerate(sample(every, len(every))):
        if killed == SAMPLE:
            break
        place = f"{call} {when}"
        done = traced(log, "-e", f"inject={call}:signal=SIGKILL:when={when}")
        killed += done.returncode != 0
        if number % 2:  # by the next create of that name, or by the garbage collector
            assert gc.main(["--execute"]) == 0, place
        if number % 2 and done.returncode != 0 and '"status": "ok"' not in done.stdout:
            assert set(left(appliance)) in (set(), {"domains", "files", "records", "addresses"}), place
        capsys.readouterr()
        assert create.main(WORDS) == 0, place
        assert json.loads(capsys.readouterr().out)["ip"] == "192.0.2.100", place
        assert root_agent.call("virsh-list")["domains"] == {"vm1": "running"}, place
        assert destroy.main(["vm1"]) == 0, place
        assert left(appliance) == {}, place
    # On a busy machine a call or two of the reference run are not made again: others stand in for them.
    assert killed >= min(SAMPLE, 0.9 * len(every))
    with capsys.disabled():
        print(f"\n{len(every)} calls in a create, killed at {killed}, nothing left")


def test_full_disk_leaves_nothing_behind(
    appliance: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "trace"
    every = reference(log, WRITES)
    failed = 0
    for call, when in sample(every, max(3, SAMPLE // 2)):
        place = f"{call} {when}"
        done = traced(log, "-e", f"inject={call}:error={errno.errorcode[errno.ENOSPC]}:when={when}")
        if done.returncode != 0 and '"status"' not in done.stdout:
            failed += 1
            assert left(appliance) == {}, f"{place}: {done.stderr}"
        capsys.readouterr()
        assert create.main(WORDS) == 0, place
        assert destroy.main(["vm1"]) == 0, place
        assert left(appliance) == {}, place
    assert failed > 0


def test_job_that_tries_again_gets_the_same_answer(
    appliance: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """A caller that died before it heard: the machine is there, and is its own."""
    assert create.main(WORDS) == 0
    first = capsys.readouterr().out
    assert create.main(WORDS) == 0
    assert capsys.readouterr().out == first
    assert create.main([*WORDS[:4], "4", "--apply"]) == 1
    other = ["SHA256:" + "b" * 43 if word == OWNER else word for word in WORDS]
    assert create.main(other) == 1


def test_a_create_without_undo_is_seen(appliance: Any, tmp_path: Path) -> None:
    """The control: a record that says nothing of its creation would be taken for a machine."""
    database = get_database()
    database.register_vm("vm1", 100, database.allocate_ip(), owner=OWNER)
    database.close()
    assert left(appliance) != {}
    assert create.main(WORDS) == 1
