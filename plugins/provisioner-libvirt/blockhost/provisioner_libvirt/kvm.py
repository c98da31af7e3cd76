"""Can this machine run guests with hardware virtualization?

The device node alone proves nothing: on some machines it opens, a VM can even be created, and guests then
hang. So the processor's own flags count too. Where KVM is not usable, guests run emulated (TCG), slower
but right; libvirt, which looks at the node alone, must then not see it.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from blockhost.i18n import gettext as _

DEVICE = Path("/dev/kvm")
CPUINFO = Path("/proc/cpuinfo")
KVM_CREATE_VM = 0xAE01  # linux/kvm.h: _IO(KVMIO, 0x01)
FLAGS = re.compile(r"^flags\s*:(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class KvmState:
    """`usable`, and in any case the `reason` in words for an operator."""

    usable: bool
    reason: str


def create_vm(device: Path) -> None:
    """Ask the kernel for an empty VM and give it back.

    Raises:
        OSError: the device cannot be opened, or the kernel refuses.
    """
    descriptor = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.close(fcntl.ioctl(descriptor, KVM_CREATE_VM, 0))
    finally:
        os.close(descriptor)


def probe(
    *, device: Path = DEVICE, cpuinfo: Path = CPUINFO, try_create: Callable[[Path], None] = create_vm
) -> KvmState:
    """Find out whether guests can use KVM. Never raises; changes nothing."""
    if not device.exists():
        return KvmState(False, _("%(device)s does not exist") % {"device": device})
    try:
        try_create(device)
    except OSError as error:
        return KvmState(
            False,
            _("%(device)s does not give a VM: %(reason)s")
            % {"device": device, "reason": error.strerror or error},
        )
    flag = _virtualization_flag(cpuinfo)
    if flag is None:
        return KvmState(
            False, _("%(device)s opens, but the processor shows neither vmx nor svm") % {"device": device}
        )
    return KvmState(
        True, _("%(device)s works, the processor has %(flag)s") % {"device": device, "flag": flag}
    )


def _virtualization_flag(cpuinfo: Path) -> str | None:
    try:
        text = cpuinfo.read_text()
    except OSError:
        return None
    flags = {flag for line in FLAGS.findall(text) for flag in line.split()}
    return next((flag for flag in ("vmx", "svm") if flag in flags), None)
