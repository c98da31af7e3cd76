"""The root agent: an echo beside a bare one, a quick call beside slow ones, a thousand idle clients.

The peer serves many clients as the agent does, but knows no identity, limit, schema or log. Both are
called through the same client, a connection a call, in alternating blocks; compared is the lower
decile, since this machine's other work can only add to a call. The client has a processor of its own,
and the servers share another: left alone, the scheduler puts one server beside the client and the other
apart, which makes more difference (52 or 75 us for the same peer) than all that the servers do.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from subprocess import Popen

from blockhost import command, framing
from testing.bench.memory import pss_mib
from testing.bench.ratio import Ratio

HERE = Path(__file__).parent
BLOCKS, BLOCK = 20, 200
NAPS = 12
REQUEST = {"action": "echo", "params": {"port": 7}}


def measure() -> list[Ratio]:
    with (
        tempfile.TemporaryDirectory(prefix="bench-agent-") as name,
        _client_apart() as servers,
        _running(Path(name), servers) as (agent, ours, peer),
    ):
        ours_s, peer_s = _seconds_per_call(ours, peer)
        beside_s = _slowest_of_hundred(ours)
        idle_mib = _memory_with_idle_clients(agent.pid, ours)
    return [
        Ratio("agent: an echo / a bare JSON echo for many clients", ours_s, peer_s, 1.5, "s"),
        Ratio(f"agent: p99 of quick calls beside {NAPS} of 3 s / 200 ms", beside_s, 0.2, 1.0, "s"),
        Ratio("agent: memory with 1,000 idle clients / 64 MiB", idle_mib, 64.0, 1.0, "MiB"),
    ]


@contextlib.contextmanager
def _client_apart() -> Iterator[int]:
    """Keep this process on one processor; yields the one for the servers."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield max(before)
    finally:
        os.sched_setaffinity(0, before)


@contextlib.contextmanager
def _running(root: Path, processor: int) -> Iterator[tuple[Popen[bytes], Path, Path]]:
    for folder in ("run/blockhost", "var/log", "actions"):
        (root / folder).mkdir(parents=True, mode=0o755)
    actions = root / "actions/bench.py"
    shutil.copyfile(HERE / "agent_actions.py", actions)
    actions.chmod(0o644)
    ours, peer = root / "run/blockhost/root-agent.sock", root / "peer.sock"
    env = {**os.environ, "BLOCKHOST_ROOT": str(root), "PYTHONPATH": str(HERE.parents[1] / "packages/common")}
    with (root / "agent.log").open("wb") as log, contextlib.ExitStack() as ending:
        processes = []
        for argv in (
            [sys.executable, "-m", "blockhost.root_agent", "--actions", str(actions)],
            [sys.executable, str(HERE / "agent_peer.py"), str(peer)],
        ):
            process = command.start(argv, env=env, stderr=log)
            os.sched_setaffinity(process.pid, {processor})  # before it has threads
            ending.callback(process.wait)
            ending.callback(process.kill)  # the naps need not be slept through
            processes.append(process)
        for path in (ours, peer):
            _wait_for(path)
        yield processes[0], ours, peer


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            framing.connect(path).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on {path}"
            time.sleep(0.02)


def _seconds_per_call(*paths: Path) -> list[float]:
    taken: dict[Path, list[float]] = {path: [] for path in paths}
    for _ in range(BLOCKS):
        for path in paths:
            taken[path] += [_timed(partial(framing.call, path, REQUEST)) for _ in range(BLOCK)]
    return [sorted(times)[len(times) // 10] for times in taken.values()]


def _slowest_of_hundred(path: Path) -> float:
    """The 99th of 100 quick calls, while more slow ones wait than there are quick workers."""
    with ThreadPoolExecutor(NAPS) as pool:
        started = [pool.submit(framing.call, path, _nap(number)) for number in range(NAPS)]
        time.sleep(0.2)
        times = sorted(_timed(partial(framing.call, path, REQUEST)) for _ in range(100))
        assert not any(nap.done() for nap in started)
        assert all(nap.result()["ok"] for nap in started)
    return times[98]


def _nap(number: int) -> dict[str, object]:
    return {"action": "nap", "params": {"name": f"vm{number % 4}" if number > 8 else f"own{number}"}}


def _memory_with_idle_clients(pid: int, path: Path) -> float:
    with contextlib.ExitStack() as open_ones:
        for _ in range(1000):
            client = open_ones.enter_context(socket.socket(socket.AF_UNIX))
            client.connect(str(path))
        assert framing.call(path, REQUEST)["ok"]  # all those before it have been accepted
        return pss_mib(pid)


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
