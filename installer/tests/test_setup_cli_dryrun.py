"""`blockhost-setup` against the whole product in a dry run: nginx, wizard, worker, every step."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from blockhost import command
from blockhost.errors import CommandFailed
from installer.answers import Answers
from installer.setup_cli.plugins import find_plugins
from installer.tls.certificate import fingerprint
from testing.dry_run import TOP, DryRun, dry_run

EXAMPLE = TOP / "testing" / "answers" / "local-libvirt.yaml"
#: A whole finalization with real children; a loaded CI machine needs its time.
pytestmark = pytest.mark.timeout(300)


class Operator:
    """Somebody with a terminal, and what the console of the machine shows."""

    def __init__(self, machine: DryRun, home: Path) -> None:
        self.machine = machine
        self.home = home
        document = yaml.safe_load(EXAMPLE.read_text())
        document["wallet"]["key"] = "owner"
        self.answers = home / "answers.yaml"
        self.answers.write_text(yaml.safe_dump(document))
        self.pin = fingerprint(machine.root / "etc/blockhost/tls/server.crt")

    @property
    def code(self) -> str:
        return str(json.loads((self.machine.root / "run/blockhost/otp.json").read_text())["code"])

    @property
    def target(self) -> list[str]:
        return ["--url", self.machine.url, "--fingerprint", self.pin]

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 240) -> str:
        """Run the command as its own process, on the operator's side."""
        env = {**self.machine.environment, "XDG_STATE_HOME": str(self.home / "state"), "HOME": str(self.home)}
        argv = [env["BLOCKHOST_PYTHON"], "-m", "installer.setup_cli", *arguments]
        return command.run(argv, env=env, cwd=TOP, timeout=timeout, stdin=stdin)

    def session_given(self) -> dict[str, Any]:
        """The session that these answers make, signed anew: Ed25519 signs the same text alike."""
        from installer.setup_cli.signing import sign

        answers = Answers.from_file(self.answers, find_plugins(self.answers))
        return answers.signed(lambda key: sign(key.path, key.public_secret)).to_session()

    def session_of(self, exported: str) -> dict[str, Any]:
        path = self.home / "exported.yaml"
        path.write_text(exported)
        return Answers.from_file(path, find_plugins(path)).to_session()


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A machine whose setup was applied to its end, wizard still open."""
    with dry_run() as machine:
        someone = Operator(machine, tmp_path_factory.mktemp("operator"))
        someone.run(
            "apply", str(someone.answers), *someone.target, "--otp", "-", "--generate-key", "--no-wait",
            stdin=someone.code + "\n",
        )  # fmt: skip
        yield someone


def test_an_apply_can_be_left_and_looked_at_again(operator: Operator) -> None:
    status = json.loads(operator.run("status", *operator.target, "--wait", "--format", "json"))
    assert status["status"] == "completed", status
    assert status["progress"] == 100
    # The same command again finds it done, without a code.
    out = operator.run("apply", str(operator.answers), *operator.target, "--finish", "no")
    assert out.strip() == "setup complete"


def test_the_next_certificate_is_announced(operator: Operator) -> None:
    """What apply accepts beside its pin is what the https step said, and what nginx serves."""
    status = json.loads(operator.run("status", *operator.target, "--wait", "--format", "json"))
    announced = status["steps"]["https"]["data"]["fingerprint"]
    assert announced == fingerprint(operator.machine.root / "etc/blockhost/tls/server.crt")


def test_here_and_there_are_the_same_setup(operator: Operator) -> None:
    there = json.loads(operator.run("status", *operator.target, "--wait", "--format", "json"))
    here = json.loads(operator.run("status", "--format", "json"))
    assert here == there


def test_export_is_what_went_in_after_all(operator: Operator) -> None:
    operator.run("status", *operator.target, "--wait")
    assert operator.session_of(operator.run("export", "--secrets")) == operator.session_given()


def test_export_over_https_opens_the_encrypted_copy(operator: Operator) -> None:
    operator.run("status", *operator.target, "--wait")
    document = operator.run("export", *operator.target, "--answers", str(operator.answers), "--secrets")
    assert operator.session_of(document) == operator.session_given()


def test_a_finished_setup_is_verified_at_any_time(operator: Operator) -> None:
    operator.run("status", *operator.target, "--wait")
    report = json.loads(operator.run("verify", "--format", "json"))
    assert report["success"] is True
    assert len(report["checks"]) > 10


def test_logs_are_the_steps_words(operator: Operator) -> None:
    operator.run("status", *operator.target, "--wait")
    events = [json.loads(line) for line in operator.run("logs", "--format", "json", "--all").splitlines()]
    assert {"step", "log", "run"} <= {event["type"] for event in events}
    assert [event["id"] for event in events] == sorted(event["id"] for event in events)


def test_the_worker_plans_without_secrets(operator: Operator) -> None:
    plan = json.loads(operator.run("plan", str(operator.answers), "--format", "json"))
    status = json.loads(operator.run("status", "--format", "json"))
    assert [step["id"] for step in plan["steps"]] == list(status["steps"])
    assert not any(step["problem"] for step in plan["steps"])


@pytest.mark.parametrize(
    ("arguments", "said"), [(["retry"], "complete"), (["retry", "nonsense"], "complete")]
)
def test_a_finished_setup_is_not_done_again(operator: Operator, arguments: list[str], said: str) -> None:
    operator.run("status", *operator.target, "--wait")
    with pytest.raises(CommandFailed) as caught:
        operator.run(*arguments)
    assert caught.value.exit_code == 1
    assert said in caught.value.stderr


def test_the_bundle_of_a_real_run_has_no_signature(operator: Operator) -> None:
    operator.run("status", *operator.target, "--wait")
    output = operator.home / "bundle.tar.gz"
    operator.run("bundle", "-o", str(output))
    signature = operator.session_given()["admin_signature"].splitlines()[1:-1]
    with tarfile.open(output) as archive:
        names = archive.getnames()
        texts = [archive.extractfile(name).read().decode() for name in names]  # type: ignore[union-attr]
    assert any("records/finalize" in name for name in names)
    for text in texts:
        assert not any(line in text for line in signature)


def test_a_wrong_code_opens_nothing(operator: Operator, tmp_path: Path) -> None:
    stranger = Operator(operator.machine, tmp_path)
    with pytest.raises(CommandFailed) as caught:
        stranger.run("status", *stranger.target, "--otp", "WRONGONE")
    assert "login: " in caught.value.stderr
    assert not (tmp_path / "state").exists()
