#!/usr/bin/env python3
"""Hold every plugin of a source tree against the contract; all faults of all plugins at once.

    scripts/check_plugins.py [PLUGIN-FOLDER …] [--format json]

A plugin is a folder with `engine.json` or `provisioner.json`. Exit codes: 0 none is at fault, 1 some
are, 2 wrong usage. Warnings (keys that nobody reads) do not fail.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

TOP = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TOP / "packages/common"), str(TOP)]

import jsonschema  # noqa: E402
from jinja2 import Environment  # noqa: E402

from blockhost import manifest as manifests  # noqa: E402
from blockhost.errors import BlockhostError  # noqa: E402
from blockhost.manifest import EngineManifest, ProvisionerManifest  # noqa: E402
from blockhost.pipeline.step import Step  # noqa: E402
from blockhost.plugin_api import PluginKind, as_steps, as_wizard_module  # noqa: E402
from blockhost.root_agent.loader import load_actions  # noqa: E402
from installer.discovery import blueprint_fault  # noqa: E402

Manifest = EngineManifest | ProvisionerManifest
#: What an engine's package must bring, by contract; a provisioner names its commands itself.
ENGINE_COMMANDS = ("bw", "ab", "is", "bhcrypt", "blockhost-mint-nft", "blockhost-generate-signup")


@dataclass(slots=True)
class Verdict:
    """What was found in one plugin's folder."""

    plugin: str
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def guard(self, act: Callable[[], Any]) -> Any:
        """What `act` returns, or None where it complains: then that is a fault."""
        try:
            return act()
        except BlockhostError as error:
            self.faults += str(error).split("; ")
        except (Exception, SystemExit) as error:  # a plugin may do anything when it is imported
            self.faults.append(f"{type(error).__name__}: {error}")
        return None


def check(folder: Path) -> Verdict:
    """All faults of one plugin."""
    verdict = Verdict(folder.name)
    sys.path.insert(0, str(folder))
    for kind, load in (("engine", manifests.load_engine), ("provisioner", manifests.load_provisioner)):
        file = folder / f"{kind}.json"
        if file.exists():
            verdict.faults += schema_faults(kind, file)
            if manifest := verdict.guard(partial(load, file)):
                verdict.warnings += [f"{file.name}: nobody reads {key}" for key in manifest.unknown_keys]
                examine(folder, kind, manifest, verdict)
            return verdict
    verdict.faults.append("has neither engine.json nor provisioner.json")
    return verdict


def examine(folder: Path, kind: Any, manifest: Manifest, verdict: Verdict) -> None:
    """What the manifest promises, against what the folder has."""
    module = verdict.guard(lambda: importlib.import_module(manifest.wizard_module))
    wizard = module and verdict.guard(lambda: as_wizard_module(module, kind=kind))
    if wizard:
        verdict.faults += step_faults(kind, manifest, wizard, verdict)
        verdict.faults += page_faults(kind, manifest, wizard)
    built = build_file(folder, verdict)
    verdict.faults += command_faults(kind, manifest, built)
    verdict.faults += file_faults(folder, manifest, built)
    verdict.faults += action_faults(folder)


def schema_faults(kind: str, file: Path) -> list[str]:
    """The manifest against its published schema: every fault, each with its place."""
    schema = json.loads((TOP / f"packages/common/schemas/{kind}.schema.json").read_text())
    try:
        document = json.loads(file.read_text())
    except ValueError as error:
        return [f"{file.name}: {error}"]
    found = jsonschema.Draft202012Validator(schema).iter_errors(document)
    return [f"{file.name}: {error.json_path}: {error.message}" for error in found]


def step_faults(kind: str, manifest: Manifest, wizard: Any, verdict: Verdict) -> list[str]:
    """Announced steps and returned ones are the same, in the same order."""
    exports = ["finalization_steps"] + (["post_finalization_steps"] if kind == "engine" else [])
    faults = []
    for name in exports:
        steps = verdict.guard(partial(returned_steps, wizard, f"get_{name}"))
        if steps is None:
            continue
        returned, announced = [step.id for step in steps], [*getattr(manifest, name)]
        if returned != announced:
            faults.append(f"get_{name}() returns {returned}, the manifest announces {announced}")
        faults += [
            f"step {step.id} is irreversible and has no check"
            for step in steps
            if step.irreversible and not step.check
        ]
    return faults


def returned_steps(wizard: Any, export: str) -> tuple[Step, ...]:
    return as_steps(getattr(wizard, export)(), owner=export)


def page_faults(kind: PluginKind, manifest: Manifest, wizard: Any) -> list[str]:
    """The blueprint's name, and the templates that pages and summary are made of."""
    blueprint = wizard.blueprint
    fault = blueprint_fault(kind, manifest, blueprint)
    faults = [fault] if fault else []
    loader: Any = getattr(blueprint, "jinja_loader", None)
    names = loader.list_templates() if loader else []
    summary = wizard.get_summary_template()
    if summary not in names:
        faults.append(f"get_summary_template() names {summary!r}, which is not among {sorted(names)}")
    environment = Environment(extensions=["jinja2.ext.i18n"], autoescape=True)
    for name in names:
        try:
            environment.parse(loader.get_source(environment, name)[0])
        except Exception as error:
            faults.append(f"template {name}: {error}")
    return faults


def build_file(folder: Path, verdict: Verdict) -> dict[str, Any]:
    """The package's `debian/build.toml`, empty where there is none."""
    file = folder / "debian/build.toml"
    if not file.exists():
        verdict.faults.append("has no debian/build.toml: nothing builds its package")
        return {}
    return verdict.guard(lambda: tomllib.loads(file.read_text())) or {}


def command_faults(kind: str, manifest: Manifest, built: dict[str, Any]) -> list[str]:
    """Every command is a launcher of the package, and its function can be imported."""
    launchers: dict[str, str] = built.get("launchers", {})
    if isinstance(manifest, ProvisionerManifest):
        wanted = [*manifest.commands.values(), manifest.detect]
        lacking = [verb for verb in manifests.VERBS if verb not in manifest.commands]
        faults = [f"the manifest has no command for {verb}" for verb in lacking]
    else:
        wanted, faults = [*ENGINE_COMMANDS], []
    faults += [f"{kind}: no launcher brings the command {name}" for name in wanted if name not in launchers]
    for name, target in launchers.items():
        module, _, function = target.partition(":")
        try:
            if not callable(getattr(importlib.import_module(module), function, None)):
                faults.append(f"launcher {name}: {module} has no function {function}")
        except ImportError as error:
            faults.append(f"launcher {name}: {error}")
    return faults


def file_faults(folder: Path, manifest: Manifest, built: dict[str, Any]) -> list[str]:
    """Files that the manifest names are installed by the package, from files that exist."""
    trees = {
        target: folder / source.removeprefix("{package}/")
        for source, target in built.get("trees", {}).items()
        if source.startswith("{package}")
    }
    named = [manifest.first_boot_hook, getattr(manifest, "root_agent_actions", None)]
    faults = [
        f"debian/build.toml: {source} does not exist" for source in trees.values() if not source.exists()
    ]
    for path in filter(None, named):
        sources = [
            tree / path[len(target) :].lstrip("/")
            for target, tree in trees.items()
            if path.startswith(target)
        ]
        if not any(source.exists() for source in sources):
            faults.append(f"the package does not bring {path}")
    return faults


def action_faults(folder: Path) -> list[str]:
    """Root actions load, and a test of the plugin names each."""
    files = sorted((folder / "root-agent-actions").glob("*.py"))
    loaded = load_actions([TOP / "packages/common/root-agent-actions/_common.py", *files])
    tested = set(tested_words(folder / "tests"))
    unnamed = [
        f"action {name}: no test of the plugin names it" for name in loaded.actions if name not in tested
    ]
    return [*loaded.problems, *unnamed]


def tested_words(tests: Path) -> Iterator[str]:
    """Every text in the plugin's tests, word by word."""
    for file in sorted(tests.glob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield from node.value.split()


def main(argv: Sequence[str] | None = None) -> int:
    """Print what was found; exit code 1 when a plugin is at fault."""
    parser = argparse.ArgumentParser(prog="check_plugins", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="PLUGIN-FOLDER", help="default: plugins/*")
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args(argv)
    folders = options.folders or sorted(path for path in (TOP / "plugins").iterdir() if path.is_dir())
    for folder in folders:
        if not folder.is_dir():
            parser.error(f"{folder}: no such folder")
    verdicts = [check(folder.resolve()) for folder in folders]
    if options.format == "json":
        print(json.dumps([asdict(verdict) for verdict in verdicts], indent=2))
    else:
        for verdict in verdicts:
            print(f"{verdict.plugin}: {'ok' if not verdict.faults else f'{len(verdict.faults)} faults'}")
            print("".join(f"  {fault}\n" for fault in verdict.faults), end="")
            print("".join(f"  (warning) {warning}\n" for warning in verdict.warnings), end="")
    return 1 if any(verdict.faults for verdict in verdicts) else 0


if __name__ == "__main__":
    raise SystemExit(main())
