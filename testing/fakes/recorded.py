"""What every fake program shares: the ledger of calls, a little state, and a loud refusal.

A fake stands in for a program that would change the machine. Each call is appended to
$BLOCKHOST_ROOT/var/log/fake-programs.jsonl, which is the ledger that tests compare: what a
real machine would have seen. A verb that no fake knows is refused with exit code 2, so that a
dry run never passes because something silently did nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

PROGRAM = Path(sys.argv[0]).name


def root() -> Path:
    """The dry run's root; without one a fake must not run at all."""
    value = os.environ.get("BLOCKHOST_ROOT", "")
    if not value or Path(value) == Path("/"):
        refuse("BLOCKHOST_ROOT is not set: a fake program outside a dry run")
    return Path(value)


def refuse(why: str) -> NoReturn:
    """Exit 2, saying that this is a fake and what it does not know."""
    print(f"{PROGRAM} (a recorded fake of testing/fakes/bin): {why}", file=sys.stderr)
    raise SystemExit(2)


def fail(why: str, code: int = 1) -> NoReturn:
    """Fail as the real program would."""
    print(f"{PROGRAM}: {why}", file=sys.stderr)
    raise SystemExit(code)


def record(argv: list[str] | None = None, **more: Any) -> None:
    """Append one call to the ledger: whole lines, whoever else writes."""
    if os.environ.get("BLOCKHOST_UNRECORDED"):  # a harness that tidies up is no part of the story
        return
    file = root() / "var/log/fake-programs.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    entry = {"program": PROGRAM, "argv": sys.argv[1:] if argv is None else argv, "time": time.time(), **more}
    descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, (json.dumps(entry) + "\n").encode())
    finally:
        os.close(descriptor)


@contextmanager
def state(name: str | None = None) -> Iterator[dict[str, Any]]:
    """This fake's state, read and written back under a lock; a kill leaves the old or the new one."""
    directory = root() / "var/lib/fake-programs"
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / f"{name or PROGRAM}.json"
    with (directory / f".{name or PROGRAM}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        value: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
        before = json.dumps(value, sort_keys=True)
        yield value
        if json.dumps(value, sort_keys=True) != before:
            spare = file.with_suffix(".new")
            spare.write_text(json.dumps(value, indent=1, sort_keys=True))
            spare.replace(file)
