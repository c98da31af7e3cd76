"""First boot as a whole, with steps of our own: order, markers, what stops what."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from blockhost import codes
from blockhost.errors import RecordNotKept, StepFailed
from blockhost.pipeline import Record, RecordStore, Step, StepContext
from blockhost.pipeline.child import InlineLauncher
from installer.firstboot import __main__ as firstboot
from installer.firstboot import hooks, plan
from installer.firstboot.progress import ProgressFile, progress_file, read_progress
from installer.firstboot.steps import nodejs, otp, packages

ORDER = [
    "network-wait",
    "packages",
    "provisioner-hook",
    "bridge",
    "nodejs",
    "engine-hook",
    "network",
    "tls",
    "setup-site",
    "otp",
]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    for name in ("var/lib/blockhost", "var/log", "run/blockhost", "usr/share/blockhost", "bin"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.setenv("BLOCKHOST_PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Replaces every step's work by a note that it ran; `broken` ones fail."""
    names: list[str] = []

    def stand_in(step: Step) -> Step:
        def work(context: StepContext) -> None:
            names.append(step.id)
            if step.id in BROKEN:
                raise StepFailed(f"{step.id} is broken", hint="mend it")

        return replace(step, apply=work, check=None)

    monkeypatch.setattr(plan, "PREPARE", tuple(map(stand_in, plan.PREPARE)))
    monkeypatch.setattr(plan, "DOOR", tuple(map(stand_in, plan.DOOR)))
    monkeypatch.setattr(plan, "_HOLDS", ())
    monkeypatch.setattr(firstboot, "ChildLauncher", lambda _plan: InlineLauncher())
    return names


BROKEN: set[str] = set()


@pytest.fixture
def broken() -> Iterator[set[str]]:
    yield BROKEN
    BROKEN.clear()


def markers(root: Path) -> set[str]:
    names = {path.name for path in (root / "var/lib/blockhost").glob(".step-*")}
    return {name.removeprefix(".step-") for name in names if not name.endswith(".open")}


def test_order_is_the_contract() -> None:
    assert [step.id for step in plan.steps()] == ORDER


def test_every_step_runs_once_and_leaves_its_marker(ran: list[str], root: Path) -> None:
    assert firstboot.run()
    assert ran == ORDER
    assert markers(root) == set(ORDER)
    assert firstboot.run()
    assert ran == ORDER


@pytest.mark.parametrize("optional", ["network-wait", "bridge", "nodejs", "network"])
def test_a_failure_the_rest_can_do_without_stops_nothing(
    ran: list[str], root: Path, broken: set[str], optional: str
) -> None:
    broken.add(optional)
    assert not firstboot.run()
    assert ran == ORDER
    assert markers(root) == {*ORDER} - {optional}
    broken.clear()
    ran.clear()
    assert firstboot.run()
    assert ran == [optional]


@pytest.mark.parametrize("fatal", ["packages", "provisioner-hook", "engine-hook"])
def test_a_failed_preparation_stops_the_others_but_never_the_door(
    ran: list[str], broken: set[str], fatal: str
) -> None:
    broken.add(fatal)
    assert not firstboot.run()
    prepared = ORDER[: ORDER.index(fatal) + 1]
    assert ran == [*prepared, "network", "tls", "setup-site", "otp"]


def test_a_door_that_does_not_open_gives_no_code(ran: list[str], broken: set[str]) -> None:
    broken.add("tls")
    assert not firstboot.run()
    assert ran[-1] == "tls"


def test_failure_is_logged_with_its_hint(
    ran: list[str], broken: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    broken.add("bridge")
    with caplog.at_level(logging.INFO):
        firstboot.run()
    assert "bridge: failed: bridge is broken: mend it" in caplog.text


def test_what_a_reboot_took_away_runs_again(
    ran: list[str], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    firstboot.run()
    ran.clear()
    monkeypatch.setattr(plan, "_HOLDS", ((otp.STEP, otp.is_done),))
    assert firstboot.run()
    assert ran == ["otp"]


def test_code_is_issued_once_and_not_for_the_log(root: Path) -> None:
    said: list[str] = []

    class Reporter:
        def log(self, line: str) -> None:
            said.append(line)

        def progress(self, fraction: float, message: str) -> None: ...

        def intent(self, data: dict[str, object]) -> None: ...

    context = StepContext(step_id="otp", config={}, reporter=Reporter())
    otp.run(context)
    code = codes.current()
    assert code is not None
    assert otp.is_done(context)
    assert code.code not in "".join(said)
    codes.verify(code.code)
    assert otp.is_done(context), "a code that was used is not replaced behind the operator's back"
    codes.code_file().write_text("garbage")
    assert not otp.is_done(context)


def context(step_id: str, lines: list[str] | None = None) -> StepContext:
    made = StepContext(step_id=step_id, config={})
    if lines is not None:
        made.log = lines.append  # type: ignore[method-assign]
    return made


def test_hook_gets_state_dir_and_log_file(root: Path) -> None:
    hook = root / "opt/hook"
    hook.parent.mkdir()
    hook.write_text('#!/bin/sh\necho "$STATE_DIR $LOG_FILE"\n')
    hook.chmod(0o755)
    lines: list[str] = []
    hooks.run_hook(context("x", lines), "/opt/hook", owner="Engine")
    assert lines == [f"{root}/var/lib/blockhost {root}/var/log/blockhost-firstboot.log"]


def test_failed_hook_names_its_owner_and_missing_one_its_path(root: Path) -> None:
    hook = root / "hook"
    hook.write_text("#!/bin/sh\necho no libvirt >&2\nexit 3\n")
    hook.chmod(0o755)
    with pytest.raises(StepFailed, match=r"Libvirt.*exit code 3.*no libvirt"):
        hooks.run_hook(context("x"), "/hook", owner="Libvirt")
    with pytest.raises(StepFailed, match="/gone"):
        hooks.run_hook(context("x"), "/gone", owner="Libvirt")
    hooks.run_hook(context("x"), None, owner="Libvirt")


def test_packages_reads_what_dpkg_has(root: Path) -> None:
    """The stand-in for dpkg-query knows one of the two packages in the pool."""
    for name, text in {
        "dpkg-deb": 'n=$(basename "$4" .deb); echo "$n 1.0"',
        "dpkg-query": '[ "$4" = known ] && echo "installed 1.0" && exit 0; exit 1',
    }.items():
        (root / "bin" / name).write_text(f'#!/bin/sh\nset -- x "$@"\n{text}\n')
        (root / "bin" / name).chmod(0o755)
    pool = packages.host_pool()
    pool.mkdir(parents=True)
    for name in ("known.deb", "missing.deb"):
        (pool / name).touch()
    assert [deb.name for deb in packages.not_installed(pool.glob("*.deb"))] == ["missing.deb"]


def test_a_silent_agent_is_no_answer() -> None:
    assert not packages.agent_answers()


@pytest.mark.parametrize(("wanted", "missing"), [([], ""), (["sh"], ""), (["nodejs-99"], "nodejs-99")])
def test_runtime_is_checked_only_when_asked_for(
    root: Path, monkeypatch: pytest.MonkeyPatch, wanted: list[str], missing: str
) -> None:
    monkeypatch.setattr(nodejs, "load_engine", lambda: SimpleNamespace(runtimes=tuple(wanted)))
    if missing:
        with pytest.raises(StepFailed, match=missing):
            nodejs.run(context("nodejs"))
    else:
        nodejs.run(context("nodejs"))


def test_progress_file_is_not_written_for_every_line(monkeypatch: pytest.MonkeyPatch) -> None:
    progress = ProgressFile()
    progress.begin("packages")
    first = progress_file().stat().st_ino
    for number in range(1000):
        progress.note("packages", f"line {number}")
    assert progress_file().stat().st_ino == first
    monkeypatch.setattr("installer.firstboot.progress.INTERVAL_S", 0.0)
    progress.note("packages", "the last one")
    doing = read_progress()
    assert doing is not None
    assert (doing.step_id, doing.message) == ("packages", "the last one")
    progress.end()
    assert read_progress() is None


def test_list_prints_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    assert firstboot.main(["--list"]) == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ORDER


def test_a_disk_that_takes_no_record_is_told_on_the_card(
    ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_store: RecordStore, record: Record) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"/var/lib/blockhost/{record.step_id}")

    monkeypatch.setattr(RecordStore, "save", full)
    with pytest.raises(RecordNotKept):
        firstboot.run()
    assert ran == []
    doing = read_progress()
    assert doing is not None
    assert doing.step_id == ORDER[0]
    assert "No space left on device" in doing.message
    assert "df" in doing.message
