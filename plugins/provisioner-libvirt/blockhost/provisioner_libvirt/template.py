"""The image that all machines start from: carried by the ISO, checked, brought into the pool.

Its volume is named after its content, so a newer image stands beside the older one, and machines
whose disks lie on the older one go on.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from blockhost import paths
from blockhost.command import run
from blockhost.config import load_db_config
from blockhost.config_files import DB, update_config
from blockhost.errors import BlockhostError, ConfigError
from blockhost.provisioner_libvirt.virsh import has_volume, virsh

Progress = Callable[[float, str], None]


def carried_image() -> Path:
    """The image as the ISO brought it; beside it `.sha256`, as sha256sum(1) writes it."""
    return paths.state_dir() / "template/blockhost-vm.qcow2"


def _unheard(_: float, __: str) -> None:
    """Nobody listens."""


def import_template(progress: Progress = _unheard) -> str:
    """Check the image and bring it into the pool; the volume's name. Repeating it is fine.

    Raises:
        BlockhostError: the image is missing, damaged, or not a plain qcow2 image.
    """
    config = load_db_config()
    pool, directory = str(config.get("storage_pool", "")), str(config.get("storage_path", ""))
    if not pool or not directory:
        raise ConfigError("db.yaml", "$.storage_pool", "missing")
    image = carried_image()
    progress(0.05, "checking the image")
    digest = _verified(image)
    volume = f"blockhost-template-{digest[:12]}.qcow2"
    if not has_volume(pool, volume):
        progress(0.5, "copying the image into the pool")
        _copy(image, paths.at(directory) / volume)
        virsh("pool-refresh", "--pool", pool)
    update_config(DB, {"template_volume": volume})
    return volume


def is_imported() -> bool:
    """Whether the template that `db.yaml` names lies in the pool and is the one the ISO carried."""
    try:
        config = load_db_config()
        volume = str(config.get("template_volume", ""))
        named = re.fullmatch(r"blockhost-template-([0-9a-f]{12})\.qcow2", volume)
        if not named or not has_volume(str(config.get("storage_pool", "")), volume):
            return False
        image = carried_image()
        return not image.exists() or _expected(image).startswith(named[1])
    except BlockhostError:
        return False


def _verified(image: Path) -> str:
    """The image's checksum, after checking that it is what was carried, and harmless."""
    if not image.is_file():
        raise BlockhostError(f"{image} is missing", hint="The ISO carries it; was it removed?")
    with image.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != _expected(image):
        raise BlockhostError(f"{image} is damaged: its checksum is not the one beside it")
    facts = json.loads(run(["qemu-img", "info", "--output=json", image]))
    # A backing or data file would let the image name any file of this host.
    if facts.get("format") != "qcow2" or "backing-filename" in facts or _has_data_file(facts):
        raise BlockhostError(f"{image} is not a qcow2 image that stands alone")
    run(["qemu-img", "check", "-q", image], timeout=300)
    return digest


def _has_data_file(facts: dict[str, object]) -> bool:
    return "data-file" in json.dumps(facts.get("format-specific", {}))


def _expected(image: Path) -> str:
    note = image.with_name(image.name + ".sha256")
    try:
        found = re.match(r"[0-9a-f]{64}\b", note.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError):
        found = None
    if found is None:
        raise BlockhostError(f"{note} is missing or holds no checksum")
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
