"""Virtual machines for `make run` and for the VM tests.

A VM has one disk, at most one ISO, a serial line that pexpect reads while every line lands in a
time-stamped log, and forwarded ports on the host's loopback. By default the guest has no route out.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from pexpect.fdpexpect import fdspawn

from blockhost import command
from blockhost.provisioner_libvirt import kvm
from testing.vm.qmp import Qmp

if TYPE_CHECKING:
    import subprocess

OVMF_CODE = Path("/usr/share/OVMF/OVMF_CODE_4M.ms.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
START_TIMEOUT_S = 30.0


class Firmware(StrEnum):
    """How the machine starts; UEFI means with Secure Boot enforced."""

    BIOS = "bios"
    UEFI = "uefi"


@dataclass(frozen=True, slots=True)
class Machine:
    """The hardware. `forwards` maps guest TCP ports to host ports on 127.0.0.1."""

    disk: Path
    iso: Path | None = None
    iso_as_usb_stick: bool = False
    firmware: Firmware = Firmware.BIOS
    memory_mib: int = 2048
    cpus: int = 2  # with KVM
    forwards: Mapping[int, int] = field(default_factory=dict)
    restrict_network: bool = True
    # The disk survives a power cut of the *guest* either way; False is for tests of the host's own crash.
    unsafe_cache: bool = True
    extra: Sequence[str] = ()


def create_disk(path: Path, *, gib: int, backing: Path | None = None) -> Path:
    """A new sparse disk; with `backing`, an overlay that leaves that one untouched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    base = ["-b", str(backing.resolve()), "-F", "qcow2"] if backing else []
    size = [] if backing else [f"{gib}G"]
    command.run(["qemu-img", "create", "-q", "-f", "qcow2", *base, path, *size])
    return path


def free_port(preferred: int = 0) -> int:
    """A TCP port on 127.0.0.1 that nobody listens on; `preferred` if that is one."""
    for port in (preferred, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return int(probe.getsockname()[1])
    raise OSError("no free TCP port on 127.0.0.1")


class VirtualMachine:
    """One QEMU process. `serial` is a pexpect object; files live in `directory`.

    Use as a context manager: leaving it kills the VM if it still runs.
    """

    serial: fdspawn[str]

    def __init__(self, machine: Machine, directory: Path, *, name: str = "vm") -> None:
        self.machine = machine
        self.directory = directory
        self.name = name
        self.kvm = kvm.probe()
        self.log = directory / f"{name}.serial.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._qmp: Qmp | None = None
        self._pump: SerialPump | None = None

    def __enter__(self) -> VirtualMachine:
        if self._process is None:
            self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.power_cut()

    def start(self) -> None:
        """Power on.

        Raises:
            CommandFailed: QEMU is not installed.
            TimeoutError: it did not open its sockets; its own words are in `<name>.qemu.log`.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        for path in (self._serial_socket, self._qmp_socket):
            path.unlink(missing_ok=True)
        with (self.directory / f"{self.name}.qemu.log").open("wb") as output:
            self._process = command.start(self.argv(), stdout=output, stderr=output)
        self._pump = SerialPump(_connect(self._serial_socket, self._process), self.log)
        self.serial = self._pump.spawn
        self._qmp = Qmp(_connect(self._qmp_socket, self._process))
        self._qmp.execute("cont")

    def argv(self) -> list[str]:
        """QEMU's command line.

        Emulation gets one processor. Two race where the guest's kernel patches itself (seen: int3 in
        __schedule, when the guest tries its own KVM) and where systemd waits for a mount; and they are no
        faster.
        """
        machine = self.machine
        accelerator, processors = ["-accel", "kvm", "-cpu", "host"], machine.cpus
        if not self.kvm.usable:
            # The default translation cache would double the memory that emulation takes.
            accelerator, processors = ["-accel", "tcg,tb-size=512", "-cpu", "max"], 1
        cache = "unsafe" if machine.unsafe_cache else "writeback"
        return [
            "qemu-system-x86_64", *accelerator, *self._firmware(), "-S",
            "-smp", str(processors), "-m", str(machine.memory_mib), "-display", "none", "-vga", "std",
            "-drive", f"if=none,id=disk,format=qcow2,file={machine.disk},cache={cache},discard=unmap",
            "-device", "virtio-blk-pci,drive=disk,bootindex=1,serial=blockhost-disk",
            *self._medium(), *self._network(), "-device", "virtio-rng-pci",
            "-chardev", f"socket,id=serial,path={self._serial_socket},server=on,wait=off",
            "-serial", "chardev:serial",
            "-qmp", f"unix:{self._qmp_socket},server=on,wait=off", *machine.extra,
        ]  # fmt: skip

    @property
    def running(self) -> bool:
        """Whether the QEMU process lives."""
        return self._process is not None and self._process.poll() is None

    def url(self, path: str = "/") -> str:
        """The guest's HTTPS address as seen from the host."""
        return f"https://127.0.0.1:{self.machine.forwards[443]}{path}"

    def power_cut(self) -> None:
        """Kill QEMU at once, as when the plug is pulled; what the guest wrote to its disk stays."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._release()

    def shut_down(self, timeout: float = 120.0) -> bool:
        """Press the power button and wait; False if the guest did not go down in time (it is killed then)."""
        if not self.running:
            return True
        assert self._qmp is not None
        self._qmp.execute("system_powerdown")
        done = _wait_until(lambda: not self.running, timeout)
        self.power_cut()
        return done

    def reset(self) -> None:
        """Press the reset button."""
        assert self._qmp is not None
        self._qmp.execute("system_reset")

    def screenshot(self, target: Path) -> None:
        """Write what the screen shows as a PNG."""
        assert self._qmp is not None
        self._qmp.execute("screendump", filename=str(target.resolve()), format="png")

    def _release(self) -> None:
        if self._pump:
            self._pump.close()
        if self._qmp:
            self._qmp.close()
        self._process = self._pump = self._qmp = None

    @property
    def _serial_socket(self) -> Path:
        return self.directory / f"{self.name}.serial"

    @property
    def _qmp_socket(self) -> Path:
        return self.directory / f"{self.name}.qmp"

    def _firmware(self) -> list[str]:
        if self.machine.firmware is Firmware.BIOS:
            return ["-machine", "q35"]
        variables = self.machine.disk.with_suffix(".vars.fd")  # they belong to the machine, as its disk does
        if not variables.exists():
            shutil.copy(OVMF_VARS, variables)
        return [
            "-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on",
            "-drive", f"if=pflash,format=raw,unit=0,file={OVMF_CODE},readonly=on",
            "-drive", f"if=pflash,format=raw,unit=1,file={variables}",
        ]  # fmt: skip

    def _medium(self) -> list[str]:
        if self.machine.iso is None:
            return []
        drive = ["-drive", f"if=none,id=medium,format=raw,file={self.machine.iso},readonly=on"]
        if self.machine.iso_as_usb_stick:
            stick = "usb-storage,drive=medium,removable=on,bootindex=2"
            return [*drive, "-device", "qemu-xhci", "-device", stick]
        return [*drive, "-device", "ide-cd,drive=medium,bootindex=2"]

    def _network(self) -> list[str]:
        forwards = "".join(
            f",hostfwd=tcp:127.0.0.1:{host}-:{guest}" for guest, host in self.machine.forwards.items()
        )
        restrict = "on" if self.machine.restrict_network else "off"
        return ["-nic", f"user,model=virtio-net-pci,restrict={restrict}{forwards}"]


class SerialPump:
    """Reads the serial line all the time, so that the guest never waits for a reader.

    Each line goes to the log with the seconds since start; everything goes to `spawn` as well.
    """

    def __init__(self, line: socket.socket, log: Path) -> None:
        self._line = line
        self._ours, theirs = socket.socketpair()
        self._line.setblocking(False)
        self._ours.setblocking(False)
        self.spawn = fdspawn(theirs, encoding="utf-8", codec_errors="replace", timeout=60, maxread=65536)
        self._theirs = theirs
        self._started = time.monotonic()
        self._log = log.open("a", buffering=1, errors="replace")
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="serial", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop reading; what was read stays readable in `spawn` until here."""
        os.close(self._stop_writer)
        self._thread.join()
        os.close(self._stop_reader)
        for end in (self._line, self._ours, self._theirs):
            end.close()
        self._log.close()

    def _run(self) -> None:
        unread = b""  # for `spawn`, which may be slow
        unsent = b""  # typed by `spawn`
        partial = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._stop_reader, selectors.EVENT_READ)
            while True:
                open_line = self._line.fileno() >= 0
                _watch(selector, self._line, write=bool(unsent))
                _watch(selector, self._ours, write=bool(unread))
                ready = {key.fileobj: events for key, events in selector.select()}
                if self._stop_reader in ready or not open_line:
                    return
                if ready.get(self._ours, 0) & selectors.EVENT_READ:
                    unsent += _receive(self._ours) or b""
                if ready.get(self._line, 0) & selectors.EVENT_READ:
                    chunk = _receive(self._line)
                    if chunk is None:  # the VM is gone
                        selector.unregister(self._line)
                        self._drain(unread, partial)
                        return
                    unread += chunk
                    partial = self._write_log(partial + chunk)
                unread = _send(self._ours, unread)
                unsent = _send(self._line, unsent)

    def _drain(self, unread: bytes, partial: bytes) -> None:
        """Hand over the rest, then end of file."""
        self._write_log(partial + b"\n")
        self._ours.setblocking(True)
        with contextlib.suppress(OSError):
            self._ours.settimeout(5)
            self._ours.sendall(unread)
            self._ours.shutdown(socket.SHUT_WR)

    def _write_log(self, data: bytes) -> bytes:
        """Log whole lines; return the rest."""
        *lines, rest = data.replace(b"\r", b"").split(b"\n")
        seconds = time.monotonic() - self._started
        for line in lines:
            if line:
                self._log.write(f"{seconds:8.2f} {line.decode('utf-8', 'replace')}\n")
        return rest


def _watch(selector: selectors.BaseSelector, end: socket.socket, *, write: bool) -> None:
    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
    try:
        selector.modify(end, events)
    except KeyError:
        selector.register(end, events)


def _receive(end: socket.socket) -> bytes | None:
    """What is there to read; None at the end."""
    try:
        return end.recv(65536) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None


def _send(end: socket.socket, data: bytes) -> bytes:
    """Send what fits; return the rest."""
    try:
        return data[end.send(data) :] if data else data
    except (BlockingIOError, BrokenPipeError, ConnectionResetError):
        return data


def _connect(path: Path, process: subprocess.Popen[bytes]) -> socket.socket:
    """Connect to a socket that QEMU is about to open."""
    deadline = time.monotonic() + START_TIMEOUT_S
    for _ in _until(deadline):
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(path))
            return connection
        except OSError:
            connection.close()
        if process.poll() is not None:
            break
    raise TimeoutError(f"QEMU did not start; see {path.with_suffix('.qemu.log')}")


def _wait_until(condition: Callable[[], bool], timeout: float) -> bool:
    for _ in _until(time.monotonic() + timeout):
        if condition():
            return True
    return condition()


def _until(deadline: float) -> Iterator[None]:
    while time.monotonic() < deadline:
        yield
        time.sleep(0.05)
