"""Finding actions: the modules of installed packages, and nothing that others could write.

A module is read through one open file whose owner and mode are checked, so that what was checked
is what runs. A broken module costs its own actions; the rest load.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from blockhost import paths
from blockhost.errors import BlockhostError, RootAgentError
from blockhost.i18n import gettext as _
from blockhost.manifest import load_provisioner
from blockhost.root_agent.action import Action, plain

log = logging.getLogger(__name__)

COMMON = "_common"


@dataclass(frozen=True, slots=True)
class Loaded:
    """All usable actions, and what was wrong with the others."""

    actions: dict[str, Action]
    problems: tuple[str, ...]


def action_files() -> list[Path]:
    """The action modules of the installed packages, and the one that the provisioner's manifest names."""
    directory = paths.share_dir() / "root-agent-actions"
    files = sorted(directory.glob("*.py")) if directory.is_dir() else []
    try:
        named = paths.at(load_provisioner().root_agent_actions)
    except (BlockhostError, FileNotFoundError):
        return files
    return files if named in files else [*files, named]


def load_actions(files: Sequence[Path] | None = None) -> Loaded:
    """Load every module; of two that define one action, the second is refused whole."""
    actions: dict[str, Action] = {}
    owners: dict[str, str] = {}
    problems: list[str] = []
    for file in action_files() if files is None else files:
        try:
            if file.name.startswith("_"):
                if file.stem == COMMON:
                    _load(file, COMMON)
                continue
            found = _actions_of(_load(file, f"blockhost_actions_{file.stem}"), file)
            for name in found:
                if name in owners:
                    raise RootAgentError(
                        _("%(file)s: action %(name)s is already defined by %(owners)s")
                        % {"file": file, "name": name, "owners": owners[name]}
                    )
        except Exception as error:  # a broken module must not take the agent down
            problems.append(str(error) if isinstance(error, BlockhostError) else f"{file}: {error!r}")
            log.error("action module refused: %s", problems[-1])
            continue
        actions.update(found)
        owners.update(dict.fromkeys(found, str(file)))
    return Loaded(actions, tuple(problems))


def _load(file: Path, name: str) -> ModuleType:
    source = _read_trusted(file)
    specification = importlib.util.spec_from_loader(name, None, origin=str(file))
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    module.__file__ = str(file)
    sys.modules[name] = module
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)  # noqa: S102  checked to be root's file
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _read_trusted(file: Path) -> bytes:
    """The text of a file that only root can change."""
    for place in (file.resolve().parent, file.parent):
        _require_trusted(place.stat(), place)
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as opened:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise RootAgentError(_("%(file)s: not a regular file") % {"file": file})
        _require_trusted(found, file)
        return opened.read()


def _require_trusted(found: os.stat_result, place: Path) -> None:
    # An agent that is not root (dry run) can do no more than its own user anyway.
    owners = {0, os.geteuid()}
    if found.st_uid not in owners or (os.geteuid() == 0 and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)):
        raise RootAgentError(
            _("%(place)s: others than root can change it") % {"place": place}, hint=_("Reinstall its package")
        )


def _actions_of(module: ModuleType, file: Path) -> dict[str, Action]:
    table: Any = getattr(module, "ACTIONS", None)
    if not isinstance(table, dict):
        raise RootAgentError(_("%(file)s: no ACTIONS") % {"file": file})
    found = {}
    for name, handler in table.items():
        if not isinstance(name, str) or not callable(handler):
            raise RootAgentError(_("%(file)s: ACTIONS must map names to handlers") % {"file": file})
        found[name] = handler if isinstance(handler, Action) else plain(handler)
    return found
