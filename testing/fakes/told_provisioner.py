"""A provisioner that is a fake: it answers as a test tells it and refuses what it was not told.

For what only calls a provisioner, such as the panel; `provisioner.py` beside it plays machines.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]

#: One program for all verbs: `<verb>.json` says what it prints and how it exits; each call is in the ledger.
PROGRAM = """#!/usr/bin/python3
import json, os, sys, time
from pathlib import Path
place, verb = Path(os.environ["FAKE_PROVISIONER"]), Path(sys.argv[0]).name.removeprefix("fake-")
with (place / "ledger").open("a") as file:
    file.write(json.dumps([verb, *sys.argv[1:]]) + "\\n")
told = place / f"{verb}.json"
if not told.exists():
    raise SystemExit(f"the fake provisioner was not told what {verb} does")
answer = json.loads(told.read_text())
if verb == "list" and "--metrics" in sys.argv and not answer["metrics"]:
    print("usage: unrecognized arguments: --metrics", file=sys.stderr)
    raise SystemExit(2)
while (place / f"{verb}.hold").exists():
    time.sleep(0.01)
print(answer["stdout"])
print(answer.get("stderr", ""), file=sys.stderr)
raise SystemExit(answer.get("code", 0))
"""


class ToldProvisioner:
    """Programs in `programs`, a manifest below `root`; what they are told and were asked in `place`.

    `$FAKE_PROVISIONER` must name `place` where they run.
    """

    def __init__(self, place: Path, *, programs: Path, root: Path) -> None:
        self.place = place
        place.mkdir()
        source = REPOSITORY / "plugins/provisioner-libvirt/provisioner.json"
        manifest = json.loads(source.read_text())
        manifest["commands"] = {verb: f"fake-{verb}" for verb in manifest["commands"]}
        (root / "usr/share/blockhost/provisioner.json").write_text(json.dumps(manifest))
        for program in manifest["commands"].values():
            (programs / program).write_text(PROGRAM)
            (programs / program).chmod(0o755)
        self.lists()

    def lists(self, *rows: dict[str, Any], metrics: bool = True, **more: Any) -> None:
        self._tell("list", stdout=json.dumps(rows), metrics=metrics, **more)

    def does(self, verb: str, **answer: Any) -> None:
        self._tell(verb, **{"stdout": "", **answer})

    def hold(self, verb: str) -> Callable[[], None]:
        (self.place / f"{verb}.hold").touch()
        return (self.place / f"{verb}.hold").unlink

    def calls(self) -> list[list[str]]:
        ledger = self.place / "ledger"
        return [json.loads(line) for line in ledger.read_text().splitlines()] if ledger.exists() else []

    def _tell(self, verb: str, **answer: Any) -> None:
        (self.place / f"{verb}.json").write_text(json.dumps(answer))
