"""The image that all machines start from: carried by the ISO, checked, brought into the pool.

Its volume is named after its content, so a newer image stands beside the older one, and machines
whose disks lie on the older one go on.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from blockhost import paths
from blockhost.command import probe, run
from blockhost.config import load_db_config
from blockhost.config_files import DB, update_config
from blockhost.errors import BlockhostError, ConfigError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.template_upgrade import Progress, digest, room_for, upgraded
from blockhost.provisioner_libvirt.virsh import delete_volume, has_volume, virsh

PREFIX = "blockhost-template-"


def carried_image() -> Path:
    """The image as the ISO brought it; beside it `.sha256`, as sha256sum(1) writes it."""
    return paths.state_dir() / "template/blockhost-vm.qcow2"


def _unheard(_fraction: float, _message: str) -> None:
    """Nobody listens."""


def import_template(progress: Progress = _unheard) -> str:
    """Check the image and bring it into the pool; the volume's name. Repeating it is fine.

    Raises:
        BlockhostError: the image is missing, damaged, or not a plain qcow2 image.
    """
    image = carried_image()
    progress(0.05, _("checking the image"))
    checksum = _verified(image)
    return _take(image, checksum, progress, carried=checksum)


def rebuild_template(progress: Progress, say: Callable[[str], None]) -> str:
    """Upgrade the carried image's packages from its archive, and bring the result into the pool.

    Machines that exist keep theirs; a failure or a kill at any point leaves the image of before.
    """
    image = carried_image()
    carried = _verified(image)
    room_for(image)
    with upgraded(image, progress, say) as result:
        _require_plain(result)
        return _take(result, digest(result), progress, carried=carried)


def _take(image: Path, checksum: str, progress: Progress, *, carried: str) -> str:
    """Bring an image into the pool and make it the one that machines start from, in one write."""
    config = load_db_config()
    pool, directory = str(config.get("storage_pool", "")), str(config.get("storage_path", ""))
    if not pool or not directory:
        raise ConfigError("db.yaml", "$.storage_pool", _("missing"))
    volume = f"{PREFIX}{checksum[:12]}.qcow2"
    # libvirt knows what it has looked at: an import that died behind its copy is not made twice.
    virsh("pool-refresh", "--pool", pool)
    if not has_volume(pool, volume):
        progress(0.95, _("copying the image into the pool"))
        _copy(image, paths.at(directory) / volume)
        virsh("pool-refresh", "--pool", pool)
    changes = {"template_volume": volume}
    if carried != checksum or "template_carried" in config:
        changes["template_carried"] = carried[:12]
    update_config(DB, changes)
    _remove_unused(paths.at(directory), pool, volume)
    return volume


def _remove_unused(directory: Path, pool: str, current: str) -> None:
    """Earlier images that no disk lies on any more."""
    earlier = {file.name for file in directory.glob(f"{PREFIX}*.qcow2")} - {current}
    if not earlier:
        return
    for disk in directory.glob("*.qcow2"):
        if not disk.name.startswith(PREFIX):
            done = probe(["qemu-img", "info", "-U", "--output=json", disk])
            if done.code != 0:
                return  # rather keep all than take one away that is in use
            earlier.discard(Path(json.loads(done.stdout).get("backing-filename", "")).name)
    for name in earlier:
        delete_volume(pool, name)


def imported_volume() -> str:
    """The template that `db.yaml` names; empty unless it is in the pool and made of what the ISO carried."""
    try:
        config = load_db_config()
        volume = str(config.get("template_volume", ""))
        named = re.fullmatch(r"blockhost-template-([0-9a-f]{12})\.qcow2", volume)
        if not named or not has_volume(str(config.get("storage_pool", "")), volume):
            return ""
        image = carried_image()
        made_of = str(config.get("template_carried", named[1]))
        is_current = not image.exists() or _expected(image).startswith(made_of)
    except BlockhostError:
        return ""
    return volume if is_current else ""


def _verified(image: Path) -> str:
    """The image's checksum, after checking that it is what was carried, and harmless."""
    if not image.is_file():
        raise BlockhostError(
            _("%(image)s is missing") % {"image": image}, hint=_("The ISO carries it; was it removed?")
        )
    checksum = digest(image)
    if checksum != _expected(image):
        raise BlockhostError(
            _("%(image)s is damaged: its checksum is not the one beside it") % {"image": image}
        )
    _require_plain(image)
    return checksum


def _require_plain(image: Path) -> None:
    facts = json.loads(run(["qemu-img", "info", "--output=json", image]))
    # A backing or data file would let the image name any file of this host.
    if facts.get("format") != "qcow2" or "backing-filename" in facts or _has_data_file(facts):
        raise BlockhostError(_("%(image)s is not a qcow2 image that stands alone") % {"image": image})
    run(["qemu-img", "check", "-q", image], timeout=300)


def _has_data_file(facts: dict[str, object]) -> bool:
    return "data-file" in json.dumps(facts.get("format-specific", {}))


def _expected(image: Path) -> str:
    note = image.with_name(image.name + ".sha256")
    try:
        found = re.match(r"[0-9a-f]{64}\b", note.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        found = None
    if found is None:
        raise BlockhostError(_("%(note)s is missing or holds no checksum") % {"note": note})
    return found[0]


def _copy(image: Path, target: Path) -> None:
    """Complete or not at all: copied beside its place, synced, renamed."""
    temporary = target.with_name(f".{target.name}.new")
    try:
        shutil.copyfile(image, temporary)
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    directory = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
