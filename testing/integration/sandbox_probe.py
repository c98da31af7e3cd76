# ruff: noqa: PTH101, PTH108, PTH116, PTH208  it calls the kernel by name
"""Runs inside a unit's sandbox and tries its doors; prints which of them opened, one word a line.

Standard library only and no import of ours: it is copied into the machine.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x00020000
#: Unlike PTRACE_ATTACH it does not stop who is traced.
PTRACE_SEIZE = 0x4206
#: Listeners of the test: one on loopback, one on an address that is not.
LOOPBACK, ELSEWHERE = ("127.0.0.1", 9), ("192.0.2.1", 9)


def touch(path: str) -> None:
    name = f"{path}/.probe"
    os.close(os.open(name, os.O_CREAT | os.O_WRONLY, 0o600))
    os.unlink(name)


def read(path: str) -> None:
    with open(path, "rb") as file:  # noqa: PTH123
        file.read(1)


def call(name: str, *arguments: object) -> None:
    if getattr(LIBC, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), name)


def connect(address: tuple[str, int]) -> None:
    """Refused means that the packet arrived: what is tried is whether it may leave."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(address)
        except ConnectionRefusedError:
            return


def open_socket(family: int, kind: int, protocol: int = 0) -> None:
    socket.socket(family, kind, protocol).close()


def writable_code() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()


def others_are_visible() -> None:
    """Processes of other users (PID 1 is always there to be asked for)."""
    own = os.getuid()
    seen = [pid for pid in os.listdir("/proc") if pid.isdigit()]
    if not any(os.stat(f"/proc/{pid}").st_uid not in (own, 65534) for pid in seen) and len(seen) < 5:
        raise PermissionError(f"{len(seen)} processes")


def use_unix(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


DOORS = {
    "write-usr": lambda: touch("/usr/lib/blockhost"),
    "write-etc": lambda: touch("/etc"),
    "write-config": lambda: touch("/etc/blockhost"),
    "write-nginx": lambda: touch("/etc/nginx"),
    "write-state": lambda: touch("/var/lib/blockhost"),
    "write-setup": lambda: touch("/var/lib/blockhost-setup"),
    "write-run": lambda: touch("/run/blockhost"),
    "write-wizard-run": lambda: touch("/run/blockhost-wizard"),
    "write-root": lambda: touch("/root"),
    "write-log": lambda: touch("/var/log"),
    "read-shadow": lambda: read("/etc/shadow"),
    "read-config": lambda: read("/etc/blockhost/probe-0640"),
    "read-vault": lambda: read("/var/lib/blockhost-setup/probe-vault"),
    "read-code": lambda: read("/run/blockhost/probe-otp"),
    "read-environment": lambda: read("/proc/1/environ"),
    "agent-socket": lambda: use_unix("/run/blockhost/root-agent.sock"),
    "see-processes": others_are_visible,
    "loopback": lambda: connect(LOOPBACK),
    "network": lambda: connect(ELSEWHERE),
    "bind-80": lambda: socket.create_server(("127.0.0.1", 80)).close(),
    "netlink": lambda: open_socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "packet": lambda: open_socket(socket.AF_PACKET, socket.SOCK_RAW),
    "raw": lambda: open_socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "mount": lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, None),
    "user-namespace": lambda: call("unshare", CLONE_NEWUSER),
    "mount-namespace": lambda: call("unshare", CLONE_NEWNS),
    "become-root": lambda: call("setuid", 0) if os.getuid() else (_ for _ in ()).throw(PermissionError()),
    "hostname": lambda: call("sethostname", b"probe", 5),
    "clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "sysctl": lambda: os.close(os.open("/proc/sys/net/ipv4/ip_forward", os.O_WRONLY)),
    "chroot": lambda: call("chroot", b"/"),
    "device": lambda: os.mknod("/var/tmp/.probe", 0o600 | 0o060000, os.makedev(8, 0)),
    "writable-code": writable_code,
    "realtime": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
    "setuid-file": lambda: os.chmod("/tmp", 0o6755),
    "ptrace": lambda: call("ptrace", PTRACE_SEIZE, os.getppid(), None, None),
    "module": lambda: LIBC.syscall(313, -1, b"", 0) and _raise_unless_bad_fd(),
}


def _raise_unless_bad_fd() -> None:
    """finit_module of a bad descriptor: EBADF means the call itself was allowed."""
    if ctypes.get_errno() != 9:
        raise OSError(ctypes.get_errno(), "finit_module")


def main() -> int:
    for name, door in DOORS.items():
        # In a child: a door may close behind us (setuid, unshare), or kill.
        pid = os.fork()
        if pid == 0:
            try:
                door()
            except BaseException as error:
                print(f"# {name}: {error!r}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        if status == 0:
            print(name, flush=True)
    print("tried", len(DOORS), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
