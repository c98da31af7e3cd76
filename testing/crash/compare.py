"""What a machine looks like after setup, without what may rightly differ between two runs."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from pathlib import Path

#: News, not state; sockets and scratch; what says when something happened.
IGNORED = (
    "var/log/", "run/", "var/lib/fake-programs/.", "var/lib/blockhost-setup/logs/", "var/lib/nginx/",
    "var/lib/blockhost/validation-output", "usr/", "worker.log", "var/lib/blockhost-setup/step.lock",
)  # fmt: skip
_TIMES = re.compile(r'("(?:started_at|completed_at|created_at|attempt|sha256|generation|time)": )[^,}\n]+')
_RUN_ID = re.compile(r"\b[0-9a-f]{16}\b")
_GENERATION = re.compile(r"generation-\d{6,}")
#: What a program is asked without changing anything: how often depends on the kills.
_QUESTION = re.compile(r"\b(version|list|\w+-(info|dumpxml|list))\b")
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{12}")


def picture(root: Path) -> dict[str, str]:
    """Every file that matters: its mode and a digest of what it says."""
    found: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if name.startswith(IGNORED) or name.endswith(("-wal", "-shm", ".lock", ".previous")):
            continue
        if path.is_symlink():
            found[_plain(name)] = "-> " + _plain(str(path.readlink()))
        elif path.is_file() and not _is_old_generation(root, path) and not _is_replaced(path):
            found[_plain(name)] = f"{path.stat().st_mode & 0o7777:o} {_digest(path, root)}"
    return found


def leftovers(root: Path) -> list[str]:
    """Temporary files of killed writers that nobody removed."""
    return [str(p.relative_to(root)) for p in root.rglob(".*") if _LEFTOVER.fullmatch(p.name)]


def effects(root: Path) -> set[str]:
    """What programs were asked to change, each once: the ledger of the fakes."""
    file = root / "var/log/fake-programs.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    calls = [json.loads(line) for line in lines]
    calls = [call for call in calls if not _QUESTION.search(" ".join(call["argv"]))]
    return {_GENERATION.sub("G", " ".join([call["program"], *call["argv"]])) for call in calls}


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    return [
        f"{name}: expected {expected.get(name, 'nothing')}, found {found.get(name, 'nothing')}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]


def _is_old_generation(root: Path, path: Path) -> bool:
    """Only nginx's current generation counts; how many came before depends on the kills."""
    sites = root / "etc/nginx/blockhost"
    if not path.is_relative_to(sites) or path.parent == sites:
        return False
    current = sites / "current"
    return not current.is_symlink() or path.parent.name != str(current.readlink())


def _is_replaced(path: Path) -> bool:
    """An open record beside the done one: whoever wrote the done one died before removing it."""
    return path.suffix == ".open" and path.with_suffix(".done").exists()


def _digest(path: Path, root: Path) -> str:
    if path.suffix == ".enc":  # a fresh nonce each time; that it opens is the engine's own test
        return f"{path.stat().st_size} bytes"
    if path.suffix == ".db":
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            text = "\n".join(database.iterdump())
        database.close()
        text = re.sub(r"\d{10}(\.\d+)?|\d{4}-\d\d-\d\d[T ][\d:.+Z]+", "T", text)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
    data = path.read_bytes()
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return hashlib.sha256(data).hexdigest()[:16]
    text = _TIMES.sub(r"\1T", _plain(text))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(text: str) -> str:
    return _GENERATION.sub("generation-G", _RUN_ID.sub("RUN", text))
