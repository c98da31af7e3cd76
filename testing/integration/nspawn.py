"""Boots a root file system with systemd-nspawn, real systemd included, and drives it from outside.

    with Appliance.boot(rootfs) as machine:
        machine.run(["systemctl", "start", "blockhost-wizard"])
        machine.wait_for(lambda: machine.is_active("blockhost-wizard"))

The tree itself is never written: changes go to an overlay that is thrown away, or kept over
`reboot` and `power_cut`. Everything dies with this process, even by SIGKILL: nspawn gets a death
signal, its PID 1 follows, and the overlay is mounted in a private namespace only.

Facts this rests on: the machine needs no systemd of the host (`--register=no --keep-unit`), and each
machine gets cgroups of its own, because two in one tree stop each other's services.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testing.fixtures.control_groups import remove_group

ROOT = Path(__file__).resolve().parents[2]
MACHINES = ROOT / "build/nspawn/machines"
CGROUP_TREES = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup/systemd"), Path("/sys/fs/cgroup"))
BOOT_S = 60.0
SHUTDOWN_S = 100.0
EXIT_FORCE_RESTART = 133
ROUTER, ADDRESS = "192.0.2.1", "192.0.2.2"
WIRED_FILES = {
    "/etc/systemd/network/80-test.network": (
        f"[Match]\nName=eth0\n[Network]\nAddress={ADDRESS}/24\nGateway={ROUTER}\nIPv6AcceptRA=no\n"
    )
}
# Said in the router's namespace, in which nspawn runs; it ends with nspawn.
WIRE = (
    "ip link add wan type veth peer name eth0 netns {init}",
    f"ip address add {ROUTER}/24 dev wan",
    "ip link set wan up",
)
PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Done:
    """How a program in the machine ended."""

    code: int
    stdout: str
    stderr: str


class MachineError(AssertionError):
    """The machine did not do what the test needs; what it printed is in the message."""


@dataclass(slots=True)
class Appliance:
    """One booted machine. Make it with `Appliance.boot`."""

    layers: Sequence[Path]
    place: Path
    binds: Mapping[Path, str] = field(default_factory=dict)
    extra: Sequence[str] = ()
    without: Sequence[str] = ()
    ready: str = ""
    wired: bool = False
    _nspawn: subprocess.Popen[bytes] | None = None
    _init: int = 0

    @classmethod
    @contextlib.contextmanager
    def boot(
        cls,
        rootfs: Path | Sequence[Path],
        *,
        binds: Mapping[Path, str] | None = None,
        files: Mapping[str, str] | None = None,
        extra: Sequence[str] = (),
        without: Sequence[str] = (),
        ready: str = "",
        wired: bool = False,
    ) -> Iterator[Appliance]:
        """A machine on `rootfs`, without any network but loopback; stopped when the block ends.

        Several folders are laid over each other, the first on top (what `keep` saved, then its base).
        `binds` shows host paths read-only, `files` are written before it boots, `extra` are more
        options of systemd-nspawn (`--network-interface=…`, `--capability=…`). Units in `without` are
        masked for this boot. The machine counts as booted when systemd has nothing left to start, or,
        with `ready`, when that unit is active. With `wired` it has a card `eth0` with an address by
        networkd and a router that answers, in a network namespace that nobody else sees.
        """
        place = MACHINES / f"{os.getpid()}-{next(_numbers)}"
        shutil.rmtree(place, ignore_errors=True)
        for name in ("upper", "work", "root"):
            (place / name).mkdir(parents=True)
        layers = [rootfs] if isinstance(rootfs, Path) else list(rootfs)
        machine = cls(layers, place, binds or {}, extra, without, ready, wired)
        for path, text in {**(files or {}), **(WIRED_FILES if wired else {})}.items():
            target = place / "upper" / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        try:
            machine.start()
            yield machine
        finally:
            machine.kill()
            shutil.rmtree(place, ignore_errors=True)

    # --- life -----------------------------------------------------------------------------

    def start(self) -> None:
        """Boot, and wait until systemd has started everything or given up on it."""
        argv = [
            "systemd-nspawn", "--quiet", "--boot", f"--directory={self.place / 'root'}",
            f"--machine=bh-{self.place.name}", "--register=no", "--keep-unit", "--console=pipe",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no",
            "--private-network",
            *(f"--bind-ro={source}:{target}" for source, target in self.binds.items()),
            *self.extra,
            *(f"systemd.mask={unit}" for unit in self.without),
        ]  # fmt: skip
        script = "\n".join(
            [
                "set -e",
                *(f"echo $$ > {shlex.quote(str(group / 'cgroup.procs'))}" for group in self._cgroups()),
                f"mount -t overlay overlay -o {self._overlay()} {self.place}/root",
                # nspawn tidies up here at a restart, and refuses to where /run is on a disk.
                "mkdir -p /run/systemd/nspawn",
                "mount -t tmpfs tmpfs /run/systemd/nspawn",
                f"exec {shlex.join(argv)}",
            ]
        )
        net = ["--net"] if self.wired else []
        with (self.place / "console.log").open("ab") as console:
            self._nspawn = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", *net, "sh", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env={"PATH": PATH, "LC_ALL": "C.UTF-8"},
                start_new_session=True,
            )
        self._wait_for_boot()

    def _overlay(self) -> str:
        lower = ":".join(map(str, self.layers))
        return f"lowerdir={lower},upperdir={self.place}/upper,workdir={self.place}/work"

    def _wait_for_boot(self) -> None:
        self._init = 0
        self.wait_for(self._find_init, "PID 1", deadline_s=BOOT_S)
        if self.wired:
            self._plug_in()
        self.wait_for(self._is_booted, "end of the boot", deadline_s=BOOT_S)

    def _plug_in(self) -> None:
        assert self._nspawn is not None
        for command in WIRE:
            words = command.format(init=self._init).split()
            outside = ["nsenter", f"--target={self._nspawn.pid}", "--net"]
            subprocess.run([*outside, *words], check=True, env={"PATH": PATH})

    def _is_booted(self) -> bool:
        if self.ready:
            return self.is_active(self.ready)
        state = self.probe(["systemctl", "is-system-running"]).stdout.strip()
        return state in {"running", "degraded", "maintenance"}

    def kill(self) -> None:
        """Stop at once, as when the power fails; nothing in the machine gets to say goodbye."""
        if self._nspawn is not None:
            if self._init:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._init, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._nspawn.pid, signal.SIGKILL)
            self._nspawn.wait()
            self._nspawn, self._init = None, 0
        for group in self._cgroups(make=False):
            remove_group(group)

    def keep(self, target: Path) -> list[Path]:
        """Shut down and save what changed in `target`; the layers to boot from later."""
        self._shut_down()
        shutil.rmtree(target, ignore_errors=True)
        shutil.move(self.place / "upper", target)
        return [target, *self.layers]

    def power_cut(self) -> None:
        """Kill and boot again with what had been written. /run is gone, as it should be."""
        self.kill()
        self.start()

    def reboot(self) -> None:
        """An orderly restart."""
        self._shut_down()
        self.start()

    def come_back(self) -> None:
        """Wait for the restart that something inside asked for, and boot again."""
        assert self._nspawn is not None
        code = self._nspawn.wait(SHUTDOWN_S)
        if code != EXIT_FORCE_RESTART:
            raise MachineError(f"the machine ended with {code} instead of restarting\n{self.console()}")
        self.kill()
        self.start()

    def _shut_down(self) -> None:
        self.probe(["systemctl", "--no-block", "poweroff"])
        assert self._nspawn is not None
        self._nspawn.wait(BOOT_S)
        self.kill()

    # --- inside ---------------------------------------------------------------------------

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, user: str = "") -> str:
        """Run a program as root (or `user`) in the machine; its stdout. A failure fails the test."""
        done = self.probe(argv, stdin=stdin, timeout=timeout, user=user)
        if done.code != 0:
            raise MachineError(f"{shlex.join(argv)}: exit code {done.code}\n{done.stdout}{done.stderr}")
        return done.stdout

    def probe(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60, user: str = "") -> Done:
        """Run a program whose exit code is an answer."""
        as_user = ["runuser", "--user", user, "--"] if user else []
        done = subprocess.run(
            [*self._enter(), *as_user, *argv],
            input=stdin.encode(),
            capture_output=True,
            timeout=timeout,
            check=False,
            env={"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"},
        )
        return Done(
            done.returncode, done.stdout.decode("utf-8", "replace"), done.stderr.decode("utf-8", "replace")
        )

    def path(self, path: str) -> Path:
        """The machine's file as this process reaches it (also below /run and /proc)."""
        return Path(f"/proc/{self._init}/root") / path.lstrip("/")

    def read_file(self, path: str) -> str:
        return self.path(path).read_text()

    def write_file(self, path: str, text: str, mode: int = 0o644) -> None:
        self.path(path).write_text(text)
        self.path(path).chmod(mode)

    def exists(self, path: str) -> bool:
        return self.path(path).exists()

    @property
    def network_namespace(self) -> Path:
        """For `nsenter --net=…` of a program that must run outside but talk to the machine."""
        return Path(f"/proc/{self._init}/ns/net")

    # --- units ----------------------------------------------------------------------------

    def state(self, unit: str) -> str:
        """`active`, `inactive`, `failed`, `activating`, …"""
        return self.probe(["systemctl", "is-active", unit]).stdout.strip()

    def is_active(self, unit: str) -> bool:
        return self.state(unit) == "active"

    def property(self, unit: str, name: str) -> str:
        return self.run(["systemctl", "show", "--value", f"--property={name}", unit]).strip()

    def failed_units(self) -> list[str]:
        text = self.run(["systemctl", "list-units", "--failed", "--plain", "--no-legend"])
        return sorted(line.split()[0] for line in text.splitlines())

    def journal(self, unit: str = "") -> str:
        return self.probe(
            ["journalctl", "--no-pager", "--output=cat", *([f"--unit={unit}"] if unit else [])]
        ).stdout

    def wait_for(
        self, condition: Callable[[], object], what: str = "the condition", *, deadline_s: float = 30.0
    ) -> None:
        """Poll until it holds; the console's end is in the error if it never does."""
        deadline = time.monotonic() + deadline_s
        while not condition():
            if self._nspawn is not None and self._nspawn.poll() is not None:
                raise MachineError(f"the machine died waiting for {what}\n{self.console()}")
            if time.monotonic() > deadline:
                jobs = self.probe(["systemctl", "list-jobs", "--no-pager"]).stdout
                raise MachineError(f"no {what} within {deadline_s:g} s\n{jobs}{self.console()}")
            time.sleep(0.05)

    def console(self) -> str:
        """The last of what the machine printed on its console."""
        file = self.place / "console.log"
        return file.read_text(errors="replace")[-4000:] if file.exists() else ""

    # --- below ----------------------------------------------------------------------------

    def _enter(self) -> list[str]:
        return [
            "nsenter",
            f"--target={self._init}",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--net",
            "--root",
            "--wd",
        ]

    def _find_init(self) -> bool:
        """nspawn's child that is PID 1 of a namespace of its own (there are helpers before it)."""
        if self._nspawn is None:
            return False
        for pid in _children(self._nspawn.pid):
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{pid}/status").read_text()
                is_init = any(
                    line.split()[1:][-1] == "1" and len(line.split()) > 2
                    for line in status.splitlines()
                    if line.startswith("NSpid:")
                )
                if is_init and Path(f"/proc/{pid}/comm").read_text().startswith("systemd"):
                    self._init = pid
                    return True
        return False

    def _cgroups(self, *, make: bool = True) -> list[Path]:
        """A group for this machine in the trees that systemd uses (v2, or v1 with a v2 beside it)."""
        trees = [tree for tree in CGROUP_TREES if (tree / "cgroup.procs").exists()]
        groups = [tree / f"blockhost-test-{self.place.name}" for tree in trees]
        for group in groups if make else []:
            group.mkdir(exist_ok=True)
        return [group for group in groups if group.exists()]


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in task.read_text().split()]
    return found


def main() -> int:
    """`python3 -m testing.integration.nspawn ROOTFS [COMMAND…]`: boot it, run a command (or a shell)."""
    with Appliance.boot(Path(sys.argv[1]).resolve()) as machine:
        return subprocess.call([*machine._enter(), *(sys.argv[2:] or ["bash"])])


if __name__ == "__main__":
    raise SystemExit(main())
