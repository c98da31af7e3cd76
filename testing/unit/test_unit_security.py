"""Exposure of the units: their score has a ceiling each, and every ceiling may only sink.

The score proves nothing by itself; testing/integration/test_unit_denials.py tries the doors.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from blockhost.command import probe

SYSTEMD = Path(__file__).resolve().parents[2] / "systemd"
#: systemd-analyze's exposure times ten, as `--threshold` wants it.
CEILINGS = {
    "blockhost-admin.service": 12,
    "blockhost-wizard.service": 5,
    "blockhost-root-agent.service": 25,
    "blockhost-firewall.service": 15,
    "blockhost-console@.service": 20,
    # Root's work on the whole machine; what is left open stands in the units with its reason.
    "blockhost-worker.service": 36,
    "blockhost-firstboot.service": 78,
}


def analyze(unit: Path, threshold: int) -> tuple[int, str]:
    done = probe(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", f"--threshold={threshold}", unit]
    )
    return done.code, done.stdout


def test_every_unit_has_a_ceiling() -> None:
    assert {path.name for path in SYSTEMD.glob("*.service")} == set(CEILINGS)


@pytest.mark.parametrize("unit", sorted(CEILINGS))
def test_exposure_stays_below_its_ceiling(unit: str) -> None:
    code, report = analyze(SYSTEMD / unit, CEILINGS[unit])
    assert code == 0, report


def test_a_unit_without_a_sandbox_is_over_every_ceiling(tmp_path: Path) -> None:
    """The control: what is measured does depend on the directives."""
    text = (SYSTEMD / "blockhost-wizard.service").read_text()
    bare = tmp_path / "bare.service"
    sandbox = r"^(Protect|Private|Restrict|System|Cap|User|IP|No|Memory).*$"
    bare.write_text(re.sub(sandbox, "", text, flags=re.M))
    assert analyze(bare, 80)[0] == 1


@pytest.mark.parametrize("unit", sorted(CEILINGS))
def test_systemd_understands_every_line(unit: str, tmp_path: Path) -> None:
    """`verify` complains about programs and users that the build machine lacks, too: only lines count."""
    text = (SYSTEMD / unit).read_text()
    name = unit.replace("@.", "@tty1.")
    copy = tmp_path / name
    copy.write_text(text)
    done = probe(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy])
    complaints = [line for line in done.stderr.splitlines() if str(copy) in line or f"{name}:" in line]
    complaints = [line for line in complaints if "is not executable" not in line]
    assert complaints == []


def test_verify_would_see_a_misspelt_line(tmp_path: Path) -> None:
    copy = tmp_path / "blockhost-wizard.service"
    copy.write_text((SYSTEMD / copy.name).read_text().replace("ProtectHome=", "ProtectHouse="))
    done = probe(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", copy])
    assert "ProtectHouse" in done.stderr


@pytest.mark.parametrize("unit", sorted(CEILINGS))
def test_no_unit_owns_the_shared_runtime_folder(unit: str) -> None:
    """One that did would empty it at its restart; tmpfiles.d makes it."""
    text = (SYSTEMD / unit).read_text()
    assert re.findall(r"^(?:Runtime|State|Configuration|Logs)Directory", text, re.M) == []


def test_the_worker_explains_what_it_leaves_open() -> None:
    """Each sandbox line of the panel that the worker lacks is named in one of its comments."""
    panel, worker = ((SYSTEMD / f"blockhost-{name}.service").read_text() for name in ("admin", "worker"))
    keys = set(re.findall(r"^((?:Protect|Private|Restrict|Proc|Memory)\w+)=", panel, re.M))
    keys -= set(re.findall(r"^(\w+)=", worker, re.M)) | {"MemoryMax"}
    comments = "".join(re.findall(r"^#.*$", worker, re.M))
    assert [key for key in sorted(keys) if key not in comments] == []
