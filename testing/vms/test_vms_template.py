"""The image that customers' machines start from: `make test-vms`.

The stories beside this one start it by firmware, with cloud-init's medium; here it starts with a kernel
given from outside, and what lies in it is looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from blockhost import command
from iso_builder import disk_image, template
from testing.vm.qemu import Machine, VirtualMachine, create_disk
from testing.vms.template import template_folder

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1200)]

LOGIN_S = 600
#: What makes a machine this one and no other. None of it may come with an image.
IDENTITIES = ("/etc/ssh/ssh_host_*_key", "/var/lib/dbus/machine-id", "/var/lib/systemd/random-seed")

Look = Callable[[str], str]


@pytest.fixture(scope="module")
def image() -> Path:
    return template_folder() / template.NAME


@pytest.fixture(scope="module")
def look(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Look:
    """Ask debugfs(8) about the image's file system."""
    raw = tmp_path_factory.mktemp("template") / "disk.raw"
    command.run(["qemu-img", "convert", "-O", "raw", image, raw], timeout=300)

    def ask(request: str) -> str:
        return command.run(["debugfs", "-R", request, f"{raw}?offset={disk_image.ROOT_START}"])

    return ask


def names(look: Look, directory: str) -> list[str]:
    """What lies in a directory of the image."""
    listed = look(f"ls -p {directory}")
    return [line.split("/")[5] for line in listed.splitlines() if line.count("/") >= 6]


def test_template_starts_with_a_given_kernel(image: Path, tmp_path: Path) -> None:
    machine = Machine(
        disk=create_disk(tmp_path / "disk.qcow2", gib=2, backing=image),
        memory_mib=512,
        extra=(
            "-kernel", str(image.parent / "vmlinuz"), "-initrd", str(image.parent / "initrd.img"),
            "-append", f"root=LABEL={template.LABEL} ro console=ttyS0",
        ),
    )  # fmt: skip
    with VirtualMachine(machine, tmp_path) as vm:
        vm.serial.expect(r"login: ", timeout=LOGIN_S)


@pytest.mark.parametrize("pattern", IDENTITIES)
def test_template_has_no_identity(look: Look, pattern: str) -> None:
    path = Path(pattern)
    assert "moduli" in names(look, "/etc/ssh"), "nothing is seen at all"
    assert not [name for name in names(look, str(path.parent)) if Path(name).match(path.name)]


def test_template_gets_its_machine_id_at_the_first_start(look: Look) -> None:
    assert "machine-id" in names(look, "/etc")
    assert look("cat /etc/machine-id") == ""


def test_template_updates_itself_and_answers_the_host(look: Look) -> None:
    assert 'APT::Periodic::Unattended-Upgrade "1";' in look("cat /etc/apt/apt.conf.d/20auto-upgrades")
    assert "unattended-upgrades.service" in names(look, "/etc/systemd/system/multi-user.target.wants")
    assert "apt-daily-upgrade.timer" in names(look, "/etc/systemd/system/timers.target.wants")
    assert "qemu-ga" in names(look, "/usr/sbin")


def test_template_lets_nobody_in_before_its_owner(look: Look) -> None:
    """No password of the image opens anything, and no key lies in it."""
    for line in look("cat /etc/shadow").splitlines():
        name, password = line.split(":")[:2]
        assert password in ("*", "!", "!*", "!!"), name
    assert "authorized_keys" not in names(look, "/root/.ssh")
