"""The finalization steps: their effects, twice, and after a kill at every point."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import stat
from pathlib import Path

import pytest
import yaml

from blockhost.checks import run_checks
from blockhost.engine_local import identity, ledger, steps
from blockhost.engine_local.answers import DEFAULTS, parse_answers
from blockhost.engine_local.checks import CHECKS
from blockhost.engine_local.cli import bw
from blockhost.engine_local.ledger import credentials, open_ledger, plans, store
from blockhost.engine_local.signup import page
from blockhost.pipeline import StepContext
from blockhost.pipeline.perform import perform
from blockhost.secret import Secret

ALL = (*steps.BEFORE, *steps.AFTER)


class Reporter:
    """What the runner would keep; an intent is durable when `intent` returns."""

    def __init__(self):
        self.intents = []
        self.lines = []

    def progress(self, fraction, message):
        pass

    def log(self, line):
        self.lines.append(line)

    def intent(self, data):
        self.intents.append(data)


@pytest.fixture(autouse=True)
def fake_programs(monkeypatch):
    """systemctl would change this machine."""
    fakes = Path(__file__).parents[3] / "testing/fakes/bin"
    monkeypatch.setenv("BLOCKHOST_PATH", f"{fakes}:/usr/bin:/bin")


@pytest.fixture
def config(key):
    return {
        "admin_wallet": key.fingerprint,
        "admin_public_secret": "blockhost-access",
        "admin_signature": {"$secret": "admin_signature"},
        "admin_commands": {"enabled": False, "destination_mode": "self"},
        "local_engine": parse_answers({**DEFAULTS, "plan_name": "Tiny <b>", "contact": "ops@example.org"}),
    }


@pytest.fixture
def secrets(key):
    return {"admin_signature": Secret(key.sign())}


def run_all(config, secrets, only=ALL):
    results = {}
    for step in only:
        context = StepContext(step_id=step.id, config=config, secrets=secrets, reporter=Reporter())
        report = perform(step, context)
        assert report.error == "", f"{step.id}: {report.error}"
        results[step.id] = report
    return results


def tree(root):
    """Every file with its mode and bytes; the write-ahead log is SQLite's own business."""
    return {
        str(file.relative_to(root)): (stat.S_IMODE(file.stat().st_mode), file.read_bytes())
        for file in sorted(root.rglob("*"))
        if file.is_file() and not file.name.endswith(("-wal", "-shm"))
    }


def facts():
    """What a finished setup means, read through the product's own doors."""
    with open_ledger() as book:
        return {
            "admin": bw.administrator(),
            "credentials": [credentials.get(book, 0).owner],
            "count": book.execute("SELECT count(*) FROM credentials").fetchone()[0],
            "plans": [plan.offer for plan in plans.all_plans(book)],
        }


def test_steps_are_those_of_the_manifest():
    manifest = json.loads((Path(__file__).parents[1] / "engine.json").read_text())["setup"]
    assert [step.id for step in steps.BEFORE] == manifest["finalization_steps"]
    assert [step.id for step in steps.AFTER] == manifest["post_finalization_steps"]


def test_setup_makes_the_administrator_known(root, config, secrets, key):
    results = run_all(config, secrets)
    assert facts()["admin"] == key.fingerprint
    assert results["mint_nft"].data == {"token_id": 0, "owner": key.fingerprint}
    assert results["plan"].data == {"plan_id": 1}
    with open_ledger() as book:
        assert credentials.get(book, 0).public_key == " ".join(key.public.read_text().split()[:2])


def test_files_are_what_the_contract_says(root, config, secrets, key):
    run_all(config, secrets)
    etc = root / "etc/blockhost"
    blockhost = yaml.safe_load((etc / "blockhost.yaml").read_text())
    assert blockhost["public_secret"] == "blockhost-access"
    assert blockhost["admin"] == {
        "wallet_address": key.fingerprint,
        "credential_nft_id": 0,
        "max_command_age": 300,
        "destination_mode": "self",
    }
    auth = yaml.safe_load((etc / "web3-defaults.yaml").read_text())["auth"]
    assert auth == {"otp_length": 6, "otp_ttl_seconds": 300, "public_secret": "blockhost-access"}
    assert json.loads((etc / "addressbook.json").read_text()) == {"admin": {"address": key.fingerprint}}
    for name in ("blockhost.yaml", "web3-defaults.yaml", "addressbook.json"):
        assert stat.S_IMODE((etc / name).stat().st_mode) == 0o640


def test_signature_is_written_nowhere(root, config, secrets, key):
    run_all(config, secrets)
    needle = "".join(key.sign().split("\n")[1:-2])[-40:].encode()
    holders = [name for name, (_mode, content) in tree(root).items() if needle in content.replace(b"\n", b"")]
    assert holders == []


def test_second_run_changes_nothing(root, config, secrets):
    run_all(config, secrets)
    before = tree(root)
    results = run_all(config, secrets)
    assert tree(root) == before
    assert [result.skipped for result in results.values()] == [True] * len(ALL)
    # A watcher still sees the numbers.
    assert results["mint_nft"].data["token_id"] == 0
    assert results["plan"].data == {"plan_id": 1}


def test_applying_twice_without_asking_check_changes_nothing(root, config, secrets):
    """The runner's `check` must not be what keeps us from minting twice."""
    run_all(config, secrets)
    before = facts()
    for step in ALL:
        step.apply(StepContext(step_id=step.id, config=config, secrets=secrets, reporter=Reporter()))
    assert facts() == before


def test_what_others_wrote_stays(root, config, secrets):
    etc = root / "etc/blockhost"
    (etc / "addressbook.json").write_text('{"dev": {"address": "x"}}')
    (etc / "blockhost.yaml").write_text("libvirt: {pool: default}\n")
    run_all(config, secrets)
    assert json.loads((etc / "addressbook.json").read_text())["dev"] == {"address": "x"}
    assert yaml.safe_load((etc / "blockhost.yaml").read_text())["libvirt"] == {"pool": "default"}


def test_configuration_written_again_keeps_the_credential(root, config, secrets):
    run_all(config, secrets)
    config["local_engine"]["contact"] = "new@example.org"
    run_all(config, secrets, only=steps.BEFORE)
    admin = yaml.safe_load((root / "etc/blockhost/blockhost.yaml").read_text())["admin"]
    assert admin["credential_nft_id"] == 0


def test_another_administrator_gets_a_credential_of_their_own(root, config, secrets, make_key):
    run_all(config, secrets)
    other = make_key(name="other")
    config["admin_wallet"] = other.fingerprint
    results = run_all(config, {"admin_signature": Secret(other.sign())})
    assert results["mint_nft"].data["token_id"] == 1
    assert bw.administrator() == other.fingerprint


def test_changed_plan_is_corrected(root, config, secrets):
    run_all(config, secrets)
    config["local_engine"]["plan_cpu"] = 4
    run_all(config, secrets)
    assert [offer.cpu for offer in facts()["plans"]] == [4]


def test_signup_page_shows_the_plan_and_escapes_it(root, config, secrets):
    run_all(config, secrets)
    text = (root / "var/www/blockhost/signup.html").read_text()
    assert "Tiny &lt;b&gt;" in text
    assert "<b>" not in text
    assert "$0.50 a day" in text
    assert "ops@example.org" in text


@pytest.mark.parametrize(
    ("change", "step", "problem"),
    [
        ({"admin_wallet": "0xab"}, steps.BEFORE[1], "fingerprint"),
        ({"admin_public_secret": ""}, steps.BEFORE[1], "public secret"),
        ({"local_engine": None}, steps.BEFORE[1], "not answered"),
        ({"local_engine": {"plan_name": "x"}}, steps.AFTER[1], "plan_price_cents"),
        ({"admin_wallet": "SHA256:" + "a" * 43}, steps.AFTER[0], "another key"),
        ({"admin_public_secret": "other"}, steps.AFTER[0], "does not fit"),
    ],
)
def test_bad_configuration_fails_the_step_and_mints_nothing(book, config, secrets, change, step, problem):
    context = StepContext(step_id=step.id, config={**config, **change}, secrets=secrets, reporter=Reporter())
    report = perform(step, context)
    assert problem in report.error
    with open_ledger() as open_book:
        assert open_book.execute("SELECT count(*) FROM credentials").fetchone()[0] == 0
        assert plans.all_plans(open_book) == []


def test_missing_signature_fails_the_step(book, config):
    report = perform(steps.AFTER[0], StepContext(step_id="mint_nft", config=config, reporter=Reporter()))
    assert "admin_signature" in report.error


def test_damaged_ledger_fails_the_step_and_is_kept(book, config, secrets):
    book.write_bytes(b"garbage" * 1000)
    report = perform(steps.BEFORE[0], StepContext(step_id="ledger", config=config, reporter=Reporter()))
    assert "ledger.db" in report.error
    assert "restore" in report.hint
    assert book.read_bytes().startswith(b"garbage")


def test_plan_of_every_step_touches_nothing(root, config):
    before = tree(root)
    for step in ALL:
        assert step.plan(StepContext(step_id=step.id, config=config))
    assert tree(root) == before


def test_checks_hold_after_setup_and_not_before(root, config, secrets, key):
    assert not any(check.probe(_context(config)).ok for check in CHECKS)
    run_all(config, secrets)
    report = run_checks(CHECKS)
    assert [result.finding.ok for result in report.results] == [True] * 4, report


def test_check_sees_a_plan_that_the_page_does_not_show(root, config, secrets):
    run_all(config, secrets)
    with open_ledger() as book:
        plans.create(book, plans.Offer("Large", 500))
    finding = CHECKS[2].probe(_context({}))
    assert not finding.ok
    assert "Large" in finding.evidence
    page.publish()
    assert CHECKS[2].probe(_context({})).ok


def test_check_sees_an_open_ledger(root, config, secrets):
    run_all(config, secrets)
    ledger.path().chmod(0o644)
    assert "0644" in CHECKS[0].probe(_context({})).evidence


def _context(config):
    from blockhost.checks import CheckContext

    return CheckContext(config=config)


# --- killed in the middle -------------------------------------------------------------------


class Killer:
    """Counts calls through the doors and ends the process at one of them."""

    def __init__(self, at):
        self.at = at
        self.count = 0

    def around(self, function):
        def called(*args, **kwargs):
            self.step()
            result = function(*args, **kwargs)
            self.step()
            return result

        return called

    def step(self):
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)


class DyingConnection:
    """A connection whose every statement is a place to die."""

    def __init__(self, connection, killer):
        self._connection = connection
        self._execute = killer.around(connection.execute)

    def execute(self, *args):
        return self._execute(*args)

    def __getattr__(self, name):
        return getattr(self._connection, name)


def _run_until(at, config, secrets, counted):
    killer = Killer(at)
    os.rename, os.fsync = killer.around(os.rename), killer.around(os.fsync)
    original = store.Ledger.__init__

    def dying_init(self, connection):
        original(self, DyingConnection(connection, killer))

    store.Ledger.__init__ = dying_init
    for step in ALL:
        step.apply(StepContext(step_id=step.id, config=config, secrets=secrets, reporter=Reporter()))
    counted.value = killer.count


def _attempt(at, config, secrets):
    context = multiprocessing.get_context("fork")
    counted = context.Value("i", 0)
    process = context.Process(target=_run_until, args=(at, config, secrets, counted))
    process.start()
    process.join(60)
    return process.exitcode, counted.value


def test_killed_anywhere_it_completes_with_one_of_each(tmp_path, monkeypatch, config, secrets, key):
    """Before and after every statement, rename and fsync of all steps."""

    def fresh(name):
        for directory in ("etc/blockhost", "var/lib/blockhost", "var/www/blockhost"):
            (tmp_path / name / directory).mkdir(parents=True)
        monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path / name))

    # ssh-keygen's answer is the same each time; the 20 ms it takes are not what is tested here.
    public = identity.signer_key("blockhost-access", key.sign())
    monkeypatch.setattr(identity, "signer_key", lambda message, signature: public)
    # Nor is the fake systemctl, which is asked five times for each point.
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "systemctl").write_text("#!/bin/sh\n")
    (programs / "systemctl").chmod(0o755)
    monkeypatch.setenv("BLOCKHOST_PATH", f"{programs}:/usr/bin:/bin")
    fresh("clean")
    code, points = _attempt(0, config, secrets)
    assert code == 0
    expected = facts()
    assert expected["count"] == 1
    assert points > 100
    for point in range(1, points + 1):
        fresh(f"at-{point}")
        code, _count = _attempt(point, config, secrets)
        assert code == -signal.SIGKILL, f"point {point} was not reached"
        run_all(config, secrets)
        assert facts() == expected, f"killed at point {point} of {points}"
    print(f"{points} points")
