"""Kernel modules of the installer: chosen by directory, with everything they need."""

from __future__ import annotations

from pathlib import Path

from iso_builder import kernel_modules

MODULES_DEP = """\
kernel/drivers/ata/ahci.ko.xz: kernel/drivers/ata/libahci.ko.xz
kernel/drivers/ata/libahci.ko.xz: kernel/drivers/scsi/scsi_mod.ko.xz
kernel/drivers/scsi/scsi_mod.ko.xz: kernel/lib/common.ko.xz
kernel/lib/common.ko.xz:
kernel/drivers/net/ethernet/intel/e1000.ko.xz: kernel/lib/common.ko.xz
"""


def test_dependencies_of_dependencies_come_along() -> None:
    found = kernel_modules.closure(kernel_modules.parse_dependencies(MODULES_DEP), ["drivers/ata/ahci.*"])
    assert found == {
        "kernel/drivers/ata/ahci.ko.xz",
        "kernel/drivers/ata/libahci.ko.xz",
        "kernel/drivers/scsi/scsi_mod.ko.xz",
        "kernel/lib/common.ko.xz",
    }


def test_a_circle_of_dependencies_ends() -> None:
    circle = {"kernel/a.ko": ["kernel/b.ko"], "kernel/b.ko": ["kernel/a.ko"]}
    assert kernel_modules.closure(circle, ["a.ko"]) == {"kernel/a.ko", "kernel/b.ko"}


def test_the_installer_gets_disks_but_no_network_cards(tmp_path: Path) -> None:
    (tmp_path / "modules.dep").write_text(MODULES_DEP)
    (tmp_path / "modules.order").write_text("")
    found = kernel_modules.choose(tmp_path)
    assert "kernel/drivers/ata/ahci.ko.xz" in found
    assert "modules.order" in found
    assert not [module for module in found if "/net/" in module]
