"""Loaded by every Python process of a crash test (it stands first on PYTHONPATH).

Holds a process where the harness wants to attach strace, and plants defects: both by wrapping
functions of the product after their module was imported. The product itself knows nothing of it.

BLOCKHOST_GATE=step:https,run   stop (SIGSTOP) at the entry of these, after noting pid and tid
BLOCKHOST_GATE_DIR              where to note them: one file for each gate
BLOCKHOST_PLANT                 no-fsync-record | no-fsync-directory | swallowed-fsync
                                record-before-effect | on-without-record
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

GATES = frozenset(filter(None, os.environ.get("BLOCKHOST_GATE", "").split(",")))
PLANT = os.environ.get("BLOCKHOST_PLANT", "")


def stop_at(name: str) -> None:
    """Stop here until the harness says go on, once for each gate."""
    if name not in GATES:
        return
    note = Path(os.environ["BLOCKHOST_GATE_DIR"]) / name
    if note.exists():
        return
    spare = note.with_name(f"{name}.new")
    spare.write_text(f"{os.getpid()} {threading.get_native_id()}")
    spare.rename(note)
    # To this thread: a signal to the process would stop another first, and this one would run on.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def gated(function: Callable[..., Any], name_of: Callable[..., str]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        stop_at(name_of(*args))
        return function(*args, **kwargs)

    return wrapper


def patch_child(module: ModuleType) -> None:
    module.perform = gated(module.perform, lambda step, context: f"step:{step.id}")  # type: ignore[attr-defined]


def patch_supervisor(module: ModuleType) -> None:
    supervisor = module.Supervisor  # type: ignore[attr-defined]
    supervisor._run = gated(supervisor._run, lambda *_: "run")
    supervisor.start = gated(supervisor.start, lambda *_: "start")


def patch_runner(module: ModuleType) -> None:
    if PLANT == "record-before-effect":
        plant_early_record(module)
    elif PLANT == "on-without-record":
        plant_lost_record(module)


def plant_lost_record(module: ModuleType) -> None:
    """The run goes on although it could not write down where it stands."""
    save = module.RecordStore.save  # type: ignore[attr-defined]

    def careless(self: Any, record: Any) -> None:
        with contextlib.suppress(OSError):
            save(self, record)

    module.RecordStore.save = careless  # type: ignore[attr-defined]


def plant_early_record(module: ModuleType) -> None:
    """The classic mistake: the step counts as done before it did anything."""
    from dataclasses import replace

    from blockhost.pipeline.records import RecordStore, Status

    class Hasty:
        def __init__(self, launcher: Any, store: RecordStore) -> None:
            self._launcher = launcher
            self._store = store

        def launch(self, job: Any, watcher: Any) -> Any:
            self._store.save(replace(self._store.load(job.step.id), status=Status.COMPLETED))
            return self._launcher.launch(job, watcher)

    made = module.Runner.__init__  # type: ignore[attr-defined]

    def hasty(self: Any, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **kwargs)
        self._launcher = Hasty(self._launcher, self._store)

    module.Runner.__init__ = hasty  # type: ignore[attr-defined]


def patch_files(module: ModuleType) -> None:
    """The other classic: bytes, or names, that were never told to reach the disk, or did not."""
    skipped = {
        "no-fsync-record": lambda mode: True,
        "no-fsync-directory": stat.S_ISDIR,
        "swallowed-fsync": lambda mode: False,
    }.get(PLANT)
    if skipped is None:
        return

    class Careless:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def fsync(self, descriptor: int) -> None:
            with contextlib.suppress(OSError):
                if not skipped(os.fstat(descriptor).st_mode):
                    os.fsync(descriptor)

    module.os = Careless()  # type: ignore[attr-defined]


PATCHES = {
    "blockhost.pipeline.child": patch_child,
    "blockhost.pipeline.runner": patch_runner,
    "blockhost.files": patch_files,
    "installer.finalize.supervisor": patch_supervisor,
}


class Finder(importlib.abc.MetaPathFinder):
    """Finds the real module, and patches it once it was executed."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name not in PATCHES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            PATCHES[name](module)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec


if GATES or PLANT:
    sys.meta_path.insert(0, Finder())
