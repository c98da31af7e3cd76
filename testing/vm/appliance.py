"""An appliance in a VM: installed from the ISO, read from its serial console, reached over HTTPS."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

import pexpect

from blockhost import command
from testing.vm.ci_client import CiClient, wait_until
from testing.vm.qemu import Firmware, Machine, VirtualMachine, create_disk, free_port

TOP = Path(__file__).resolve().parents[2]
SSH_KEY = TOP / "build/testing-ssh-key"
INSTALL_DEADLINE_S = 900.0
CARD_DEADLINE_S = 420.0

INSTALLED = "INSTALL OK"
STOPPED = r"INSTALL (STOPPED|FAILED)[^\r\n]*"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")


@dataclass(frozen=True, slots=True)
class Card:
    """What the console shows to whoever stands before it."""

    address: str
    fingerprint: str
    code: str


class Appliance:
    """One machine with one disk; started and killed at will."""

    def __init__(self, directory: Path, *, iso: Path | None, firmware: Firmware = Firmware.BIOS) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.https_port, self.ssh_port = free_port(), free_port()
        self.machine = Machine(
            disk=create_disk(directory / "disk.qcow2", gib=20),
            iso=iso,
            firmware=firmware,
            memory_mib=3072,
            forwards={443: self.https_port, 22: self.ssh_port},
            restrict_network=True,
        )
        self.vm = VirtualMachine(self.machine, directory, name="appliance")
        self.timings: dict[str, float] = {}

    def __enter__(self) -> Appliance:
        return self

    def __exit__(self, *_: object) -> None:
        self.vm.power_cut()

    def mark(self, what: str, started: float) -> None:
        """Note how long something took, and say so: the whole takes many minutes."""
        self.timings[what] = time.monotonic() - started
        print(f"[vm] {what}: {self.timings[what]:.0f} s", flush=True)

    def install(self, *, menu_key: str = "") -> None:
        """Boot the ISO and let it install itself; `menu_key` picks an entry of the boot menu."""
        started = time.monotonic()
        self.vm.start()
        if menu_key:
            self.vm.serial.expect("Install BlockHost", timeout=120)
            self.vm.serial.send(menu_key)
        found = self.vm.serial.expect([INSTALLED, STOPPED, pexpect.EOF], timeout=INSTALL_DEADLINE_S)
        if found == 1:  # the reason follows: the last lines of the installer's log
            self.vm.serial.expect([pexpect.TIMEOUT, pexpect.EOF], timeout=15)
        assert found == 0, f"the installation did not finish: {self.vm.serial.after}\n{self.tail()}"
        self.mark("power-on to installed", started)

    def start(self) -> None:
        self.vm.start()

    def pull_the_plug(self) -> None:
        """Kill QEMU at once."""
        self.vm.power_cut()

    def card(self, *, timeout: float = CARD_DEADLINE_S) -> Card:
        """The card with a code, as printed on the serial console."""
        started = time.monotonic()
        text = ""
        patterns = {
            "address": re.compile(r"Address:\s+https://(\S+?)/?\s"),
            "fingerprint": re.compile(r"Fingerprint:\s+SHA256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})"),
            "code": re.compile(r"Code:\s+([A-Z2-9]{4}-[A-Z2-9]{4})"),
        }
        while time.monotonic() - started < timeout:
            try:
                text += self.vm.serial.read_nonblocking(65536, timeout=5)
            except pexpect.TIMEOUT:
                continue
            except pexpect.EOF:
                raise AssertionError(
                    f"the machine stopped before it showed its card\n{self.tail()}"
                ) from None
            plain = ANSI.sub("", text)
            # The last card counts: a renewed code replaces the one before.
            found = {name: pattern.findall(plain) for name, pattern in patterns.items()}
            if all(found.values()):
                self.mark("start to card", started)
                return Card(**{name: values[-1] for name, values in found.items()})
        raise AssertionError(f"no card within {timeout:.0f} s\n{self.tail()}")

    def client(self, card: Card) -> CiClient:
        return CiClient(self.https_port, card.fingerprint)

    def wait_for_https(self, card: Card, path: str = "/healthz", *, seconds: float = 300) -> None:
        client = self.client(card)
        wait_until(lambda: client.get(path).status < 500, seconds, f"HTTPS at {path}")

    def ssh(self, *argv: str, timeout: float = 120, stdin: str | None = None) -> str:
        """Run a command inside, by the testing ISO's key."""
        return command.run([*self.ssh_words(), *argv], timeout=timeout, stdin=stdin)

    def ssh_words(self) -> list[str]:
        """ssh(1) to root inside: what is to run there follows."""
        options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "BatchMode=yes",
            "ConnectTimeout=60",
        ]
        flags = [word for option in options for word in ("-o", option)]
        return ["ssh", *flags, "-i", str(SSH_KEY), "-p", str(self.ssh_port), "root@127.0.0.1"]

    def tail(self, lines: int = 60) -> str:
        """The last lines of the serial log."""
        if not self.vm.log.exists():
            return ""
        return "\n".join(self.vm.log.read_text(errors="replace").splitlines()[-lines:])


def iso_under_test() -> Path:
    """The testing ISO: given by BLOCKHOST_ISO, else built from this tree."""
    if given := os.environ.get("BLOCKHOST_ISO"):
        return Path(given)
    target = TOP / "build/blockhost-testing.iso"
    argv = ["scripts/build-iso.sh", "--backend", "libvirt", "--engine", "local"]
    lines = [*argv, "--testing", "--build-deb", "--output", target]
    command.stream([TOP / lines[0], *lines[1:]], lambda line: print(line, flush=True), timeout=2400, cwd=TOP)
    return target
