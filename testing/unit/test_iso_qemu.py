"""The VM launcher: its command line, its serial pump, and reading the console card."""

from __future__ import annotations

import io
import socket
import time
from pathlib import Path

import pexpect
import pytest

from appliance_runner.card import Card, read_card
from appliance_runner.follow import Follower
from appliance_runner.place import Place
from blockhost.errors import BlockhostError
from testing.vm.qemu import Firmware, Machine, SerialPump, VirtualMachine, free_port

FINGERPRINT = ":".join(["AB"] * 32)
CARD = (
    "BlockHost 0.1.0\r\n"
    "Address:     https://10.0.2.15/\r\n"
    "Name:        https://blockhost.local/\r\n"
    f"Fingerprint: SHA256 {FINGERPRINT}\r\n"
    "Code:        ABCD-2345\r\n"
    "Valid for:   3 h 59 min\r\n"
)


def command_line(machine: Machine, directory: Path) -> str:
    return " ".join(VirtualMachine(machine, directory).argv())


def test_the_guest_has_no_route_out_and_ports_only_on_the_loopback(tmp_path: Path) -> None:
    argv = command_line(Machine(disk=tmp_path / "d.qcow2", forwards={443: 8443, 22: 2222}), tmp_path)
    assert "restrict=on,hostfwd=tcp:127.0.0.1:8443-:443,hostfwd=tcp:127.0.0.1:2222-:22" in argv


def test_the_disk_is_tried_before_the_medium(tmp_path: Path) -> None:
    argv = command_line(Machine(disk=tmp_path / "d.qcow2", iso=tmp_path / "x.iso"), tmp_path)
    assert "virtio-blk-pci,drive=disk,bootindex=1" in argv
    assert "ide-cd,drive=medium,bootindex=2" in argv


def test_the_medium_can_be_a_usb_stick(tmp_path: Path) -> None:
    machine = Machine(disk=tmp_path / "d.qcow2", iso=tmp_path / "x.iso", iso_as_usb_stick=True)
    assert "usb-storage,drive=medium" in command_line(machine, tmp_path)


def test_uefi_keeps_its_variables_beside_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = tmp_path / "template.fd"
    template.write_bytes(b"empty")
    monkeypatch.setattr("testing.vm.qemu.OVMF_VARS", template)
    argv = command_line(Machine(disk=tmp_path / "d.qcow2", firmware=Firmware.UEFI), tmp_path)
    assert "property=secure,value=on" in argv
    assert (tmp_path / "d.vars.fd").read_bytes() == b"empty"
    (tmp_path / "d.vars.fd").write_bytes(b"boot entry")
    command_line(Machine(disk=tmp_path / "d.qcow2", firmware=Firmware.UEFI), tmp_path)
    assert (tmp_path / "d.vars.fd").read_bytes() == b"boot entry"


def test_a_taken_port_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) != port


@pytest.fixture
def line(tmp_path: Path):
    """Our end of a serial line, and the pump that reads the other."""
    ours, theirs = socket.socketpair()
    pump = SerialPump(theirs, tmp_path / "serial.log")
    yield ours, pump
    pump.close()
    ours.close()


def test_the_serial_line_goes_to_pexpect_and_to_the_log(line, tmp_path: Path) -> None:
    ours, pump = line
    ours.sendall(b"hello\r\nlogin: ")
    pump.spawn.expect("login: ", timeout=10)
    pump.spawn.send("root\n")
    assert ours.recv(100) == b"root\n"
    assert (tmp_path / "serial.log").read_text().endswith(" hello\n")


def test_the_guest_never_waits_for_a_reader(line) -> None:
    """Far more than any socket buffers, while nobody expects anything."""
    ours, pump = line
    ours.settimeout(20)
    ours.sendall(b"x" * 10_000_000 + b"\nend of flood\n")
    pump.spawn.expect("end of flood", timeout=20)


def test_the_end_of_the_vm_is_the_end_of_the_line(line) -> None:
    ours, pump = line
    ours.sendall(b"last words")
    ours.close()
    pump.spawn.expect(pexpect.EOF, timeout=10)
    assert pump.spawn.before == "last words"


def test_a_card_is_read_through_colours() -> None:
    assert read_card(f"\x1b[2J\x1b[1;1H{CARD}") == Card("10.0.2.15", FINGERPRINT, "ABCD-2345")


def test_the_newest_code_counts() -> None:
    assert read_card(CARD + CARD.replace("ABCD-2345", "EFGH-6789")) == Card(
        "10.0.2.15", FINGERPRINT, "EFGH-6789"
    )


@pytest.mark.parametrize("missing", ["Address", "Fingerprint", "Code"])
def test_half_a_card_is_none(missing: str) -> None:
    assert read_card(CARD.replace(missing, "Something")) is None


def test_a_cut_off_fingerprint_is_none() -> None:
    assert read_card(CARD.replace(FINGERPRINT, FINGERPRINT[:-3])) is None


def test_after_the_setup_there_is_no_code() -> None:
    done = CARD.replace("Code:        ABCD-2345", "Panel:       https://10.0.2.15/admin")
    assert read_card(done) == Card("10.0.2.15", FINGERPRINT, "")


class FakeVm:
    """A VM that has said what it will say."""

    def __init__(self, text: str) -> None:
        self.log = Path("serial.log")
        self.serial = self
        self._parts = [text]

    def read_nonblocking(self, _size: int, timeout: float) -> str:
        if not self._parts:
            raise pexpect.EOF("end")
        return self._parts.pop()


def test_the_installers_steps_are_shown_and_its_noise_is_not() -> None:
    said = []
    follower = Follower(
        FakeVm("noise\r\n[blockhost 21s] step: x\r\n[blockhost 90s] INSTALL OK\r\n"), said.append
    )
    follower.until_installed(5)
    assert said == ["[blockhost 21s] step: x", "[blockhost 90s] INSTALL OK"]


def test_a_stopped_installation_ends_the_wait_with_its_reason() -> None:
    follower = Follower(
        FakeVm("[blockhost 9s] INSTALL STOPPED, nothing written: 2 possible\r\n"), io.StringIO().write
    )
    started = time.monotonic()
    with pytest.raises(BlockhostError, match="nothing written: 2 possible"):
        follower.until_installed(60)
    assert time.monotonic() - started < 10


def test_only_a_finished_installation_is_booted_again(tmp_path: Path) -> None:
    place = Place(tmp_path / "run")
    assert not place.is_installed()
    place.start_over()
    assert not place.is_installed()
    place.mark_installed()
    assert place.is_installed()
    place.start_over()
    assert not place.is_installed()
