"""What machines use, for many at once. Called by root only.

Rates come from two looks at libvirt's counters: the last one is remembered, so that a caller who
asks now and then waits for nothing. Guests are asked side by side and briefly; one that is silent
costs its own figures (-1), never the others'.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from blockhost.errors import BlockhostError
from blockhost.provisioner_libvirt import guest
from blockhost.provisioner_libvirt.virsh import virsh

MB = 1024 * 1024
#: Between two looks; a shorter time gives rates that jump about.
LEAST_S = 0.5
#: A sample older than this says nothing about now.
OLDEST_S = 300.0
#: How long one guest may take for one answer; how many are asked one after the other, and in how many
#: groups side by side.
GUEST_S = 2
GROUP, GROUPS = 12, 8
ALL_S = 20.0
FIRST_PAUSE_S = 0.1
#: libvirt's numbers for the states of a domain (virDomainState).
STATES = ("no state", "running", "blocked", "paused", "in shutdown", "shut off", "crashed", "pmsuspended")
#: Seconds since the guest's start; its established TCP connections.
_LOOK = "cut -d' ' -f1 /proc/uptime; cat /proc/net/tcp* | awk '$4 == \"01\" { n++ } END { print n + 0 }'"

Facts = dict[str, str]


@dataclass(slots=True)
class Sampler:
    """Remembers the last look at each machine. One for a process; threads may share it."""

    clock: Callable[[], float] = time.monotonic
    _last: dict[str, tuple[float, Facts]] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def rates(self, names: Sequence[str]) -> tuple[dict[str, Facts], dict[str, tuple[float, Facts]]]:
        """The counters now, and for each machine an earlier look at them."""
        now, facts = self.clock(), domain_stats(names)
        with self._guard:
            before = {
                name: seen
                for name in facts
                if (seen := self._last.get(name)) and LEAST_S <= now - seen[0] <= OLDEST_S
            }
        if any(is_running(seen) and name not in before for name, seen in facts.items()):
            time.sleep(max(0.0, LEAST_S - (self.clock() - now)))
            for name in facts.keys() - before.keys():
                before[name] = (now, facts[name])
            now, facts = self.clock(), domain_stats(names)
        with self._guard:
            self._last.update({name: (now, seen) for name, seen in facts.items()})
            for name in [name for name, (at, _) in self._last.items() if now - at > OLDEST_S]:
                del self._last[name]
        return facts, {name: (now - at, seen) for name, (at, seen) in before.items()}


_SAMPLER = Sampler()


def metrics(names: Sequence[str], sampler: Sampler = _SAMPLER) -> dict[str, dict[str, Any]]:
    """The contract's figures of each machine that libvirt knows; -1 where only the guest could tell."""
    facts, before = sampler.rates(names)
    told = ask_guests([name for name, seen in facts.items() if is_running(seen)])
    return {name: _figures(seen, before.get(name), told.get(name)) for name, seen in facts.items()}


def domain_stats(names: Sequence[str]) -> dict[str, Facts]:
    """libvirt's counters; machines that it does not know are missing. `--nowait`: a busy one is skipped."""
    text = virsh(
        "domstats", "--raw", "--nowait", "--state", "--balloon", "--interface", "--block",
        "--vcpu",
    )  # fmt: skip
    wanted, found = set(names), {}
    for block in re.split(r"\n\s*\n", text.strip()):
        head, _, rest = block.strip().partition("\n")
        named = re.fullmatch(r"Domain: '(.+)'", head)
        if named and named[1] in wanted:
            pairs = (line.strip().partition("=") for line in rest.splitlines())
            found[named[1]] = {key: value for key, _, value in pairs}
    return found


def is_running(facts: Mapping[str, str]) -> bool:
    return _number(facts, "state.state") == STATES.index("running")


@dataclass(frozen=True, slots=True)
class Told:
    """What a guest says about itself; -1 where it did not."""

    uptime_s: int = -1
    connections: int = -1
    disk_used: int = -1
    disk_total: int = -1


#: Guests that did not answer when they were last asked: they are asked after all others.
_silent: set[str] = set()


def ask_guests(names: Iterable[str]) -> dict[str, Told]:
    """Ask all of them, in groups side by side; those that do not answer in time are missing.

    A group is asked by one program each time, since starting one for each guest costs more than asking.
    """
    ordered = sorted(names, key=lambda name: (name in _silent, name))
    count = min(GROUPS, -(-len(ordered) // GROUP))
    groups = [ordered[number::count] for number in range(count)]
    found: dict[str, Told] = {}
    if groups:
        pool = ThreadPoolExecutor(len(groups), thread_name_prefix="guest")
        try:
            deadline = time.monotonic() + ALL_S
            for answer in [pool.submit(_ask_group, group) for group in groups]:
                with contextlib.suppress(BlockhostError, TimeoutError):
                    found |= answer.result(max(0.0, deadline - time.monotonic()))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
    _silent.difference_update(found)
    _silent.update(set(ordered) - set(found))
    return found


def _ask_group(names: Sequence[str]) -> dict[str, Told]:
    look = guest.program(["/bin/sh", "-c", _LOOK])
    started = guest.ask_many({name: [look] for name in names}, timeout_s=GUEST_S)
    pids = {name: pid for name, answers in started.items() if (pid := _pid(answers)) is not None}
    systems = guest.ask_many({name: [{"execute": "guest-get-fsinfo"}] for name in pids}, timeout_s=GUEST_S)
    texts: dict[str, str] = {}
    pause, deadline = FIRST_PAUSE_S, time.monotonic() + GUEST_S
    while (left := {name: pid for name, pid in pids.items() if name not in texts}) and (
        time.monotonic() < deadline
    ):
        requests = {name: [guest.status_of(pid)] for name, pid in left.items()}
        for name, answers in guest.ask_many(requests, timeout_s=GUEST_S).items():
            ended = guest.ended(answers[0]) if answers else None
            if ended is None or ended.code is not None:
                texts[name] = "" if ended is None else ended.stdout.decode("ascii", "replace")
        if len(texts) < len(pids):
            time.sleep(pause)  # each look starts a program: rather a few
            pause *= 2
    return {name: _told(texts.get(name, ""), systems.get(name, [])) for name in pids}


def _pid(answers: Sequence[object]) -> int | None:
    pid = answers[0].get("pid") if answers and isinstance(answers[0], dict) else None
    return pid if isinstance(pid, int) and not isinstance(pid, bool) else None


def _told(text: str, answers: Sequence[object]) -> Told:
    used, total = _root_usage(answers[0] if answers else None)
    uptime, connections = ([*text.split(), "", ""])[:2]
    return Told(_whole(uptime), _whole(connections), used, total)


def _root_usage(systems: object) -> tuple[int, int]:
    for system in systems if isinstance(systems, list) else []:
        if isinstance(system, dict) and system.get("mountpoint") == "/":
            used, total = system.get("used-bytes"), system.get("total-bytes")
            if isinstance(used, int) and isinstance(total, int):
                return used, total
    return -1, -1


def _figures(facts: Facts, before: tuple[float, Facts] | None, told: Told | None) -> dict[str, Any]:
    seconds, earlier = before or (0.0, {})
    per_second = _Rates(facts, earlier, seconds)
    processors = max(1, _number(facts, "vcpu.current"))
    answer, known = told is not None, told or Told()
    total, unused = _number(facts, "balloon.available"), _number(facts, "balloon.usable")
    has_driver = total > 0 and "balloon.usable" in facts
    capacity = _sum(facts, "block", "capacity", only="vda")
    return {
        # Not `cpu.time`: it needs a control group, and counts what the emulator does besides.
        "cpu_percent": round(min(100.0, per_second.all("vcpu", "time") / 1e7 / processors), 1),
        "cpu_count": processors,
        "memory_used_mb": (total - unused) // 1024 if has_driver else -1,
        "memory_total_mb": _number(facts, "balloon.current") // 1024,
        "disk_used_mb": known.disk_used // MB if known.disk_used >= 0 else -1,
        "disk_total_mb": (known.disk_total if known.disk_total >= 0 else capacity) // MB,
        "disk_read_iops": round(per_second.all("block", "rd.reqs"), 1),
        "disk_write_iops": round(per_second.all("block", "wr.reqs"), 1),
        "disk_read_bytes_sec": round(per_second.all("block", "rd.bytes")),
        "disk_write_bytes_sec": round(per_second.all("block", "wr.bytes")),
        # libvirt tells them from the machine's side.
        "net_rx_bytes_sec": round(per_second.all("net", "rx.bytes")),
        "net_tx_bytes_sec": round(per_second.all("net", "tx.bytes")),
        "net_connections": known.connections,
        "guest_agent_responsive": answer,
        "uptime_seconds": known.uptime_s,
        "state": STATES[state] if 0 <= (state := _number(facts, "state.state")) < len(STATES) else "unknown",
    }


@dataclass(frozen=True, slots=True)
class _Rates:
    now: Facts
    before: Facts
    seconds: float

    def of(self, key: str) -> float:
        """Growth of one counter; a machine that started anew begins at 0."""
        if self.seconds <= 0 or key not in self.before:
            return 0.0
        return max(0, _number(self.now, key) - _number(self.before, key)) / self.seconds

    def all(self, kind: str, counter: str) -> float:
        keys = [key for key in self.now if re.fullmatch(rf"{kind}\.[0-9]+\.{re.escape(counter)}", key)]
        return sum(self.of(key) for key in keys)


def _sum(facts: Facts, kind: str, counter: str, *, only: str) -> int:
    numbers = [key.split(".")[1] for key, value in facts.items() if key.startswith(kind) and value == only]
    return sum(_number(facts, f"{kind}.{number}.{counter}") for number in numbers)


def _number(facts: Mapping[str, str], key: str) -> int:
    value = facts.get(key, "0")
    return int(value) if re.fullmatch(r"-?[0-9]{1,20}", value) else 0


def _whole(text: str) -> int:
    found = re.match(r"[0-9]{1,15}", text)
    return int(found[0]) if found else -1
