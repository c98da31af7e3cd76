"""From manifests to plugins: the only importer of plugins.

A broken plugin never raises out of here. It becomes a `PluginProblem` that names everything that
is wrong with it, so the wizard can show that and go on with the rest.
"""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from blockhost import manifest as manifests
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.manifest import EngineManifest, ProvisionerManifest
from blockhost.plugin_api import PluginKind, WizardModule, as_wizard_module

log = logging.getLogger(__name__)

#: Pages of the wizard itself: a plugin of this name would hide one of them.
RESERVED_NAMES = frozenset(
    {"wallet", "network", "storage", "ipv6", "admin-commands", "summary", "install", "complete", "next"}
)

Manifest = EngineManifest | ProvisionerManifest


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin that keeps the contract."""

    kind: PluginKind
    manifest: Manifest
    module: WizardModule

    @property
    def name(self) -> str:
        return self.manifest.name


@dataclass(frozen=True, slots=True)
class PluginProblem:
    """Why a plugin cannot be used: one sentence for each fault. `name` is empty without a manifest."""

    kind: PluginKind
    name: str
    faults: tuple[str, ...]
    hint: str = ""

    @property
    def message(self) -> str:
        return "; ".join(self.faults)


@dataclass(frozen=True, slots=True)
class Plugins:
    """What is installed. Where a plugin is missing, `problems` says why."""

    engine: Plugin | None = None
    provisioner: Plugin | None = None
    problems: tuple[PluginProblem, ...] = ()
    #: Manifests that could be read, also of plugins whose module is broken.
    manifests: Mapping[str, Manifest] = field(default_factory=dict)

    @property
    def engine_manifest(self) -> EngineManifest | None:
        found = self.manifests.get("engine")
        return found if isinstance(found, EngineManifest) else None

    @property
    def provisioner_manifest(self) -> ProvisionerManifest | None:
        found = self.manifests.get("provisioner")
        return found if isinstance(found, ProvisionerManifest) else None

    def problem_of(self, kind: PluginKind) -> PluginProblem | None:
        """Why this kind of plugin cannot be used, or None."""
        return next((problem for problem in self.problems if problem.kind == kind), None)


_LOADERS: Mapping[PluginKind, Callable[[Path | None], Manifest]] = {
    "engine": manifests.load_engine,
    "provisioner": manifests.load_provisioner,
}


def discover(manifest_files: Mapping[PluginKind, Path] = MappingProxyType({})) -> Plugins:
    """Find the engine and the provisioner; never raises because of one of them.

    Installed ones, unless the caller names other manifests (a source tree's).
    """
    found: dict[str, Plugin] = {}
    problems: list[PluginProblem] = []
    readable: dict[str, Manifest] = {}
    for kind, load in _LOADERS.items():
        try:
            readable[kind] = load(manifest_files.get(kind))
        except BlockhostError as error:
            problems.append(PluginProblem(kind, "", (str(error),), error.hint))
            continue
        plugin = _load(kind, readable[kind])
        if isinstance(plugin, Plugin):
            found[kind] = plugin
        else:
            problems.append(plugin)
    # First: `problem_of` tells the first one of a plugin.
    problems = [*_collisions(readable), *problems]
    broken = {problem.kind for problem in problems}
    for problem in problems:
        log.error("%s plugin %s: %s", problem.kind, problem.name or "(unknown)", problem.message)
    return Plugins(
        engine=found.get("engine") if "engine" not in broken else None,
        provisioner=found.get("provisioner") if "provisioner" not in broken else None,
        problems=tuple(problems),
        manifests=MappingProxyType(readable),
    )


def _load(kind: PluginKind, manifest: Manifest) -> Plugin | PluginProblem:
    """Import a plugin's wizard module and hold it against the contract."""
    hint = N_("Install a version of the plugin that keeps the contract, then restart the wizard.")
    if manifest.name in RESERVED_NAMES:
        return PluginProblem(
            kind,
            manifest.name,
            (_("the name %(name)r belongs to a page of the wizard") % {"name": manifest.name},),
            hint,
        )
    try:
        module = importlib.import_module(manifest.wizard_module)
        checked = as_wizard_module(module, kind=kind)
    except BlockhostError as error:
        faults = tuple(str(error).split("; "))
        return PluginProblem(kind, manifest.name, faults, error.hint or hint)
    # A plugin may call sys.exit() on import; that must cost its page only. What is not about the
    # plugin (KeyboardInterrupt) goes on.
    except (Exception, SystemExit) as error:
        log.exception("cannot import %s", manifest.wizard_module)
        return PluginProblem(
            kind,
            manifest.name,
            (
                _("%(wizard_module)s cannot be imported: %(kind)s: %(error)s")
                % {"wizard_module": manifest.wizard_module, "kind": type(error).__name__, "error": error},
            ),
            hint,
        )
    if fault := blueprint_fault(kind, manifest, checked.blueprint):
        return PluginProblem(kind, manifest.name, (fault,), hint)
    return Plugin(kind, manifest, checked)


def blueprint_fault(kind: PluginKind, manifest: Manifest, blueprint: Any) -> str:
    """The blueprint's name is fixed: url_for in templates and other plugins relies on it."""
    expected = f"{kind}_{manifest.name}"
    accepted = {expected, expected.replace("-", "_")}
    return (
        ""
        if blueprint.name in accepted
        else _("blueprint is called %(name)r, expected %(expected)r")
        % {"name": blueprint.name, "expected": expected}
    )


def _collisions(readable: Mapping[str, Manifest]) -> list[PluginProblem]:
    """Two plugins that share a page or a session key would overwrite each other's answers."""
    engine, provisioner = readable.get("engine"), readable.get("provisioner")
    if engine is None or provisioner is None:
        return []
    faults = []
    if engine.name == provisioner.name:
        faults.append(_("engine and provisioner are both called %(name)r") % {"name": engine.name})
    if engine.session_key == provisioner.session_key:
        faults.append(
            _("engine and provisioner both keep their answers under %(session_key)r")
            % {"session_key": engine.session_key}
        )
    return [PluginProblem("provisioner", provisioner.name, tuple(faults))] if faults else []
