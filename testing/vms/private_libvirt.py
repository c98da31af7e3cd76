"""A real libvirt with QEMU under emulation, in namespaces of its own: nobody else's machine is touched.

    with PrivateLibvirt.start(directory) as libvirt:
        libvirt.run(["virsh", "-c", "qemu:///system", "list"])

It has a bridge `br0` and sees no KVM. Everything in it dies with this process, even by SIGKILL: its
first process gets a death signal, and the process namespace falls with that.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from testing.fixtures.control_groups import remove_group

ROOT = Path(__file__).resolve().parents[2]
PATHS = os.pathsep.join(
    str(ROOT / part) for part in ("packages/common", "plugins/engine-local", "plugins/provisioner-libvirt")
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOOK = ROOT / "plugins/provisioner-libvirt/hooks/libvirt-qemu"
PARTS = (
    "run/libvirt", "etc/libvirt/hooks/qemu.d", "var/lib/libvirt", "var/log/libvirt", "var/cache/libvirt",
)  # fmt: skip
CPU_TREE = Path("/sys/fs/cgroup/cpu")
CONTROLLER = "cpu"

SETUP = """
set -e
mount --make-rprivate /
# A /dev without kvm. A dead device, and one that is only covered, makes libvirt ask QEMU again and
# again what it can: 45 s for each define.
mkdir -p "$1/dev"
mount -t tmpfs dev "$1/dev"
mkdir "$1/dev/pts" "$1/dev/shm" "$1/dev/net"
for node in null zero full random urandom tty ptmx net/tun; do cp -a "/dev/$node" "$1/dev/$node"; done
ln -s /proc/self/fd "$1/dev/fd"
ln -s /proc/self/fd/0 "$1/dev/stdin"
mount --bind /dev/pts "$1/dev/pts"
mount --move "$1/dev" /dev
for part in run etc/libvirt var/lib/libvirt var/log/libvirt var/cache/libvirt; do
    mkdir -p "/$part"
    mount --bind "$1/$part" "/$part"
done
mount -t sysfs sysfs /sys  # the network devices of these namespaces
if [ -n "$2" ]; then
    mount -t tmpfs cgroups /sys/fs/cgroup
    mkdir /sys/fs/cgroup/cpu
    mount -t cgroup -o "$2" cgroup /sys/fs/cgroup/cpu
fi
ip link set lo up
ip link add br0 type bridge
ip link set br0 up
touch "$1/ready"
# The first process of a namespace must collect those that lost their parents.
exec /usr/bin/python3 -c '
import os, time
while True:
    try:
        os.wait()
    except ChildProcessError:
        time.sleep(0.05)
'
"""
QEMU_CONF = """
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
namespaces = []
cgroup_controllers = [{controllers}]
"""


def is_possible() -> bool:
    """Whether this machine can: root, and the daemon installed."""
    return os.geteuid() == 0 and Path("/usr/sbin/libvirtd").exists()


@dataclass(slots=True)
class PrivateLibvirt:
    """Make it with `start`."""

    directory: Path
    _first: subprocess.Popen[bytes] | None = None
    _init: int = 0
    _daemons: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def start(cls, directory: Path, environment: Mapping[str, str] | None = None) -> Iterator[PrivateLibvirt]:
        """`environment` is what libvirt's hook gets: which tree our code looks at."""
        self = cls(directory)
        for part in PARTS:
            (directory / part).mkdir(parents=True, exist_ok=True)
        controllers = f'"{CONTROLLER}"' if CPU_TREE.exists() else ""
        (directory / "etc/libvirt/qemu.conf").write_text(QEMU_CONF.format(controllers=controllers))
        daemon = 'auth_unix_rw = "none"\nauth_unix_ro = "none"\n'
        (directory / "etc/libvirt/libvirtd.conf").write_text(daemon)
        self.install_hook(environment or {})
        try:
            self._begin()
            self._start_daemon("virtlogd")
            self.start_libvirtd()
            yield self
        finally:
            self._end()

    def install_hook(self, environment: Mapping[str, str]) -> None:
        """The product's own hook, looking at this tree's code."""
        values = {"PYTHONPATH": PATHS, "BLOCKHOST_PYTHON_OPTIONS": "-B", **environment}
        exports = "".join(f"export {key}='{value}'\n" for key, value in values.items())
        hook = self.directory / "etc/libvirt/hooks/qemu.d/blockhost"
        hook.write_text(f'#!/bin/sh\n{exports}exec sh {HOOK} "$@"\n')
        hook.chmod(0o755)

    # --- the daemons ----------------------------------------------------------------------

    @property
    def socket(self) -> Path:
        return self.directory / "run/libvirt/libvirt-sock"

    @property
    def uri(self) -> str:
        """For programs outside of these namespaces."""
        return f"qemu+unix:///system?socket={self.socket}"

    def start_libvirtd(self) -> None:
        process = self._start_daemon("libvirtd")
        wait_for(lambda: answers_on(self.socket), process, "libvirtd", deadline_s=60)

    def restart_libvirtd(self) -> None:
        """As `systemctl restart libvirtd`: the machines go on meanwhile."""
        end(self._daemons.pop())
        self.socket.unlink(missing_ok=True)
        self.start_libvirtd()

    def power_cut(self) -> None:
        """Machines and libvirtd end at once, and what they kept in /run is gone."""
        end(self._daemons.pop(), signal.SIGKILL)
        self.probe(["pkill", "-KILL", "qemu-system"])
        # virtlogd goes on: systemd would have its socket ready at once.
        self.run(["find", "/run/libvirt", "-mindepth", "1", "-not", "-name", "virtlogd*", "-delete"])

    def _start_daemon(self, program: str) -> subprocess.Popen[bytes]:
        with (self.directory / f"{program}.log").open("ab") as output:
            process = self.popen([program], stdout=output, stderr=output)
        self._daemons.append(process)
        return process

    # --- inside ---------------------------------------------------------------------------

    def enter(self) -> list[str]:
        """The words before a command that is to run in there."""
        words = ["nsenter", f"--target={self._init}", "--mount", "--net", "--pid", "--cgroup"]
        # nsenter waits for its child in there; what ends the one must end the other.
        return [*words, "setpriv", "--pdeathsig", "TERM"]

    def popen(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None, **more: object
    ) -> subprocess.Popen[bytes]:
        values = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root", **(env or {})}
        return subprocess.Popen([*self.enter(), *argv], env=values, **more)  # type: ignore[call-overload,no-any-return]

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60) -> str:
        """Run a program in there; its stdout. A failure fails the test."""
        process = self.popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        out, err = process.communicate(stdin.encode(), timeout)
        assert process.returncode == 0, f"{argv}: {process.returncode}\n{out.decode()}{err.decode()}"
        return out.decode()

    def probe(self, argv: Sequence[str], *, timeout: float = 60) -> int:
        """Run a program whose exit code is an answer."""
        process = self.popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return process.wait(timeout)

    # --- life -----------------------------------------------------------------------------

    def _begin(self) -> None:
        tree = join = ""
        if CPU_TREE.exists():
            tree = CONTROLLER
            self._group().mkdir(exist_ok=True)
            join = f"echo $$ > {self._group()}/cgroup.procs\n"
        (self.directory / "setup.sh").write_text(SETUP)
        apart = "unshare --mount --net --pid --cgroup --fork --kill-child --mount-proc"
        words = f'exec {apart} sh {self.directory}/setup.sh "$@"'
        with (self.directory / "setup.log").open("wb") as output:
            self._first = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sh", "-c", join + words, "sh", str(self.directory), tree],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        wait_for(
            (self.directory / "ready").exists, self._first, "the namespaces", log=self.directory / "setup.log"
        )
        (child,) = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children").read_text().split()
        self._init = int(child)

    def _group(self) -> Path:
        return CPU_TREE / f"blockhost-vms-{os.getpid()}-{self.directory.name}"

    def _end(self) -> None:
        for process in reversed(self._daemons):
            with contextlib.suppress(subprocess.TimeoutExpired):
                end(process)
        if self._init:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._init, signal.SIGKILL)
        if self._first is not None:
            self._first.kill()
            self._first.wait()
        for process in self._daemons:
            process.wait()
        remove_group(self._group())
        shutil.rmtree(self.directory / "dev", ignore_errors=True)


def end(process: subprocess.Popen[bytes], number: int = signal.SIGTERM) -> None:
    """End a program that `popen` started, and wait until it is gone: nsenter follows its child."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for child in children.read_text().split():
            os.kill(int(child), number)
    process.wait(30)


def answers_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def wait_for(
    holds: Callable[[], bool],
    process: subprocess.Popen[bytes],
    what: str,
    *,
    deadline_s: float = 30,
    log: Path | None = None,
) -> None:
    deadline = time.monotonic() + deadline_s
    while not holds():
        said = log.read_text() if log else ""
        assert process.poll() is None, f"{what}: it ended with {process.returncode}\n{said}"
        assert time.monotonic() < deadline, f"{what}: not ready within {deadline_s:g} s\n{said}"
        time.sleep(0.02)


def main() -> int:
    """`python -m testing.vms.private_libvirt DIRECTORY`: a shell in such a host."""
    with PrivateLibvirt.start(Path(sys.argv[1]).resolve()) as libvirt:
        return subprocess.call([*libvirt.enter(), "bash"])


if __name__ == "__main__":
    raise SystemExit(main())
