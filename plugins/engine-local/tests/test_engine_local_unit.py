"""The monitor's unit: understood by systemd, and as closed as it can be."""

from __future__ import annotations

import json
import re
from pathlib import Path

from blockhost.command import probe
from blockhost.engine_local.steps.monitor import UNIT

PLUGIN = Path(__file__).parents[1]
FILE = PLUGIN / "systemd" / UNIT
#: systemd-analyze's exposure times ten; it may only sink.
CEILING = 7


def analyze(file, threshold):
    argv = ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={threshold}", file]
    done = probe(argv)
    return done.code, done.stdout


def test_exposure_stays_below_its_ceiling(tmp_path):
    code, report = analyze(FILE, CEILING)
    assert code == 0, report
    bare = tmp_path / "bare.service"
    bare.write_text(
        re.sub(r"^(Protect|Private|Restrict|System|Cap|IP|No|User).*$", "", FILE.read_text(), flags=re.M)
    )
    assert analyze(bare, 70)[0] == 1  # the control


def test_systemd_understands_every_line(tmp_path):
    copy = tmp_path / UNIT
    copy.write_text(FILE.read_text())
    done = probe(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy])
    lines = [line for line in done.stderr.splitlines() if str(copy) in line or f"{UNIT}:" in line]
    assert [line for line in lines if "is not executable" not in line] == []


def test_unit_is_declared_and_owns_no_shared_folder():
    manifest = json.loads((PLUGIN / "engine.json").read_text())
    assert manifest["permissions"]["units"] == [path.name for path in (PLUGIN / "systemd").iterdir()]
    assert re.findall(r"^(?:Runtime|State|Configuration|Logs)Directory", FILE.read_text(), re.M) == []
    assert UNIT in (PLUGIN / "debian/package.mk").read_text()
