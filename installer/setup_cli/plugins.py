"""Which plugins check an answers file: the installed ones or, in a source tree, that tree's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from blockhost.errors import BlockhostError
from blockhost.manifest import EngineManifest, ProvisionerManifest, load_engine, load_provisioner
from blockhost.plugin_api import PluginKind
from installer.answers.documents import Malformed, Section, Value, read_document
from installer.discovery import Plugins, discover
from installer.setup_cli.place import source_tree

LOADERS: Mapping[PluginKind, Callable[[Path], EngineManifest | ProvisionerManifest]] = {
    "engine": load_engine,
    "provisioner": load_provisioner,
}


def find_plugins(answers: Path | None = None) -> Plugins:
    """The plugins to use; `answers` says which of a source tree's are meant."""
    root = source_tree()
    installed = _installed()
    if root is None or installed:
        return discover()
    names = _chosen(answers) if answers else {}
    found: dict[PluginKind, Path] = {}
    for kind in LOADERS:
        manifest = _in_tree(root, kind, names.get(kind, ""))
        if manifest is not None:
            found[kind] = manifest
            if str(manifest.parent) not in sys.path:
                sys.path.append(str(manifest.parent))
    return discover(found)


def _installed() -> bool:
    for load in (load_engine, load_provisioner):
        try:
            load()
        except BlockhostError:
            continue
        return True
    return False


def _in_tree(root: Path, kind: PluginKind, name: str) -> Path | None:
    """The manifest of that name, or the only one there is."""
    manifests = sorted(root.glob(f"plugins/*/{kind}.json"))
    for manifest in manifests:
        try:
            if LOADERS[kind](manifest).name == name:
                return manifest
        except BlockhostError:
            continue
    return manifests[0] if manifests else None


def _chosen(answers: Path) -> dict[str, str]:
    """The plugin names that a file gives; a file that cannot be read gives none, its check says why."""
    try:
        document = read_document(answers.read_bytes()) if answers.is_file() else {}
    except (Malformed, OSError):
        return {}
    names: dict[str, str] = {}
    for kind in LOADERS:
        section = document.get(kind)
        name = section.values.get("name") if isinstance(section, Section) else None
        if isinstance(name, Value):
            names[kind] = name.text
    return names
