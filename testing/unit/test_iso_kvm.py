"""The KVM probe: the device node alone proves nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockhost.provisioner_libvirt import kvm

INTEL = "processor\t: 0\nflags\t\t: fpu vmx sse\n\nprocessor\t: 1\nflags\t\t: fpu vmx sse\n"
AMD = "flags\t\t: fpu svm\n"
NEITHER = "flags\t\t: fpu svm_lock novmx hypervisor\n"


def probe(tmp_path: Path, *, cpuinfo: str | None, refusal: OSError | None = None) -> kvm.KvmState:
    device = tmp_path / "kvm"
    device.touch()
    if cpuinfo is not None:
        (tmp_path / "cpuinfo").write_text(cpuinfo)

    def create(_: Path) -> None:
        if refusal:
            raise refusal

    return kvm.probe(device=device, cpuinfo=tmp_path / "cpuinfo", try_create=create)


@pytest.mark.parametrize(("cpuinfo", "flag"), [(INTEL, "vmx"), (AMD, "svm")])
def test_a_machine_with_everything_is_usable(tmp_path: Path, cpuinfo: str, flag: str) -> None:
    state = probe(tmp_path, cpuinfo=cpuinfo)
    assert state.usable
    assert flag in state.reason


@pytest.mark.parametrize("cpuinfo", [NEITHER, "", None])
def test_a_device_without_the_processors_help_is_not_usable(tmp_path: Path, cpuinfo: str | None) -> None:
    state = probe(tmp_path, cpuinfo=cpuinfo)
    assert not state.usable
    assert "neither vmx nor svm" in state.reason


def test_a_kernel_that_refuses_a_vm_is_quoted(tmp_path: Path) -> None:
    state = probe(tmp_path, cpuinfo=INTEL, refusal=PermissionError(13, "Permission denied"))
    assert not state.usable
    assert "Permission denied" in state.reason


def test_no_device_is_said_plainly(tmp_path: Path) -> None:
    state = kvm.probe(device=tmp_path / "missing", cpuinfo=tmp_path / "cpuinfo")
    assert state == kvm.KvmState(False, f"{tmp_path}/missing does not exist")


def test_the_real_call_on_something_that_is_no_kvm_device_is_an_answer(tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(INTEL)
    state = kvm.probe(device=Path("/dev/null"), cpuinfo=tmp_path / "cpuinfo")
    assert not state.usable
    assert "/dev/null does not give a VM" in state.reason
