"""Who may import whom (docs/explanation/architecture.md), read from the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]

#: Area of the tree -> what it must never import, and why.
FORBIDDEN: dict[str, dict[str, str]] = {
    "packages/common/blockhost": {
        "installer": "the common library knows no part that uses it",
        "admin": "the common library knows no part that uses it",
        "blockhost.engine_": "the core knows no plugin by name",
        "blockhost.provisioner_": "the core knows no plugin by name",
        "flask": "steps, actions and checks run without a web framework",
    },
    "installer": {
        "admin": "two programs of their own",
        "blockhost.engine_": "plugins are found by their manifests",
        "blockhost.provisioner_": "plugins are found by their manifests",
    },
    "installer/host": {"flask": "facts about the host are no web matter"},
    "installer/network": {"flask": "network code runs as root, without a web framework"},
    "installer/tls": {"flask": "TLS code runs as root, without a web framework"},
    "installer/firstboot": {"flask": "first boot has no web framework", "installer.web": "no page in a step"},
    "installer/finalize": {"flask": "the worker has no web framework", "installer.web": "no page in a step"},
    "installer/validation": {"flask": "checks run anywhere", "installer.web": "checks run anywhere"},
    "admin": {
        "installer": "two programs of their own",
        "blockhost.engine_": "the panel calls an engine by its commands",
        "blockhost.provisioner_": "the panel calls a provisioner by its manifest",
    },
    "plugins/engine-local": {
        "installer": "plugins use the common library alone",
        "admin": "plugins use the common library alone",
        "blockhost.provisioner_": "no plugin imports another",
    },
    "plugins/provisioner-libvirt": {
        "installer": "plugins use the common library alone",
        "admin": "plugins use the common library alone",
        "blockhost.engine_": "no plugin imports another",
    },
}


def sources(area: str) -> Iterator[Path]:
    """Product code of an area: its tests may import what they test."""
    for path in sorted((TOP / area).rglob("*.py")):
        if "tests" not in path.relative_to(TOP).parts:
            yield path


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def breaches(name: str, rules: dict[str, str]) -> Iterator[str]:
    for forbidden, why in rules.items():
        if name == forbidden or name.startswith(forbidden if forbidden.endswith("_") else f"{forbidden}."):
            yield f"imports {name}: {why}"


@pytest.mark.parametrize("area", FORBIDDEN)
def test_area_imports_only_what_it_may(area: str) -> None:
    assert list(sources(area)), f"{area} is empty: is the rule still about anything?"
    found = [
        f"{path.relative_to(TOP)}:{line}: {breach}"
        for path in sources(area)
        for line, name in imports(path)
        for breach in breaches(name, FORBIDDEN[area])
    ]
    assert not found, "\n".join(found)


def test_rules_catch_a_planted_breach(tmp_path: Path) -> None:
    planted = tmp_path / "bad.py"
    planted.write_text("import flask\nfrom blockhost.engine_local import ledger\n")
    names = [name for _, name in imports(planted)]
    rules = FORBIDDEN["packages/common/blockhost"]
    assert [len(list(breaches(name, rules))) for name in names] == [1, 1]


def test_namespace_has_no_init() -> None:
    """PEP 420: several packages share `blockhost`, so none may own it."""
    assert not [*TOP.glob("packages/*/blockhost/__init__.py"), *TOP.glob("plugins/*/blockhost/__init__.py")]


def test_no_file_is_called_for_nothing() -> None:
    """A name says what is in a file; these say only that somebody did not know."""
    vague = {"utils.py", "helpers.py", "misc.py", "manager.py", "common.py", "util.py", "helper.py"}
    assert not [path for area in FORBIDDEN for path in sources(area) if path.name in vague]


def test_only_the_gate_starts_programs() -> None:
    """`# noqa: TID251` must not become a habit: the gate is the one user of subprocess."""
    users = [
        str(path.relative_to(TOP))
        for area in ("packages", "installer", "admin", "plugins", "scripts")
        for path in sources(area)
        for _, name in imports(path)
        if name.split(".")[0] == "subprocess"
    ]
    assert users == ["packages/common/blockhost/command.py"]
