"""`scripts/check_plugins.py` on a copy of a real plugin, with one thing broken at a time."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TOP = Path(__file__).resolve().parents[2]
SCRIPT = TOP / "scripts/check_plugins.py"


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    target = tmp_path / "engine-local"
    shutil.copytree(
        TOP / "plugins/engine-local", target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    return target


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: plugins are imported."""
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def faults(plugin: Path) -> list[str]:
    done = run(plugin, "--format", "json")
    (verdict,) = json.loads(done.stdout)
    assert done.returncode == (1 if verdict["faults"] else 0), done.stderr
    found: list[str] = verdict["faults"]
    return found


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def test_plugins_of_this_tree_have_no_fault() -> None:
    done = run()
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == ["engine-local: ok", "provisioner-libvirt: ok"]


def test_all_faults_are_told_at_once(plugin: Path) -> None:
    manifest = plugin / "engine.json"
    edit(manifest, lambda document: document["setup"].update(finalization_steps=["ledger", "other"]))
    build = plugin / "debian/build.toml"
    build.write_text(
        build.read_text().replace("cli.bw:main", "cli.bw:missing").replace("\nab = ", "\nabc = ")
    )
    found = "\n".join(faults(plugin))
    assert "returns ['ledger', 'engine_config'], the manifest announces ['ledger', 'other']" in found
    assert "launcher bw: blockhost.engine_local.cli.bw has no function missing" in found
    assert "no launcher brings the command ab" in found


def test_unknown_key_is_a_warning(plugin: Path) -> None:
    edit(plugin / "engine.json", lambda document: document.update(colour="red"))
    done = run(plugin)
    assert done.returncode == 0
    assert "(warning) engine.json: nobody reads $.colour" in done.stdout


@pytest.mark.parametrize(
    ("break_it", "fault"),
    [
        (lambda plugin: (plugin / "engine.json").unlink(), "neither engine.json nor provisioner.json"),
        (lambda plugin: (plugin / "engine.json").write_text("{"), "engine.json: "),
        (
            lambda plugin: edit(plugin / "engine.json", lambda document: document.update(name="Local")),
            "$.name: 'Local' does not match",
        ),
        (
            lambda plugin: edit(
                plugin / "engine.json", lambda document: document["setup"].update(wizard_module="no.such")
            ),
            "ModuleNotFoundError",
        ),
        (
            lambda plugin: edit(
                plugin / "engine.json",
                lambda document: document["setup"].update(first_boot_hook="/usr/share/blockhost/hooks/x"),
            ),
            "the package does not bring /usr/share/blockhost/hooks/x",
        ),
        (lambda plugin: (plugin / "debian/build.toml").unlink(), "has no debian/build.toml"),
    ],
)
def test_fault_is_found(plugin: Path, break_it: Callable[[Path], object], fault: str) -> None:
    break_it(plugin)
    assert any(fault in found for found in faults(plugin)), faults(plugin)


def test_broken_template_is_found(plugin: Path) -> None:
    template = next(plugin.rglob("*.html"))
    template.write_text(template.read_text() + "{% if %}")
    assert any(found.startswith("template ") for found in faults(plugin))


def test_folder_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    done = run(tmp_path / "nothing")
    assert done.returncode == 2
    assert "no such folder" in done.stderr
