"""The real plan with both plugins in a dry run: to the end, again, and what the operator takes along."""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Iterator
from typing import Any

import pytest

from installer.web.client import WorkerClient
from testing.crash import compare
from testing.crash.tracing import wait_until
from testing.dry_run import DryRun
from testing.fixtures.real_answers import session


@pytest.fixture(scope="module")
def machine() -> Iterator[DryRun]:
    before = dict(os.environ)
    with DryRun() as machine:
        os.environ.update(machine.environment)
        try:
            machine.start("init", "agent")
            machine.first_boot()
            machine.start("worker")
            yield machine
        finally:
            os.environ.clear()
            os.environ.update(before)


@pytest.fixture(scope="module")
def answers(machine: DryRun) -> dict[str, Any]:
    public, secrets = session(machine.root / "owner-key")
    for name, secret in secrets.items():
        WorkerClient().keep(name, secret.reveal())
    return public


def _complete(client: WorkerClient) -> dict[str, Any]:
    wait_until(lambda: client.status()["status"] != "running", "the run ends", timeout=90)
    status = client.status()
    assert status["status"] == "completed", (status["failed_step"], status["error"])
    return status


@pytest.mark.timeout(300)
def test_the_whole_story(machine: DryRun, answers: dict[str, Any]) -> None:
    client = WorkerClient()
    before = compare.picture(machine.root)
    plan = client.plan(answers)
    assert compare.differences(before, compare.picture(machine.root)) == []
    assert [step["problem"] for step in plan["steps"]] == [""] * len(plan["steps"])
    ciphertext = client.backup(answers)

    client.start(answers, plan["hash"])
    status = _complete(client)
    assert status["steps"]["https"]["data"]["tls_mode"] == "local-ca"
    assert client.validate()["success"]
    assert client.kept() == ()
    assert client.export() == {"answers": answers}

    # The secret is gone from here; the backup made before, or by `finalize`, brings it back.
    assert (
        client.backup(answers)
        == (machine.root / "var/lib/blockhost/blockhost-config.enc").read_text().strip()
    )
    signature = (machine.root / "etc/blockhost/admin-signature.key").read_text().strip()
    assert client.restore(signature, ciphertext) == answers
    assert client.kept() == ("admin_signature",)

    # A second run finds everything in place (P25).
    first, effects = compare.picture(machine.root), compare.effects(machine.root)
    client.reset(force=True)
    client.start(answers, plan["hash"])
    _complete(client)
    changed = compare.differences(first, compare.picture(machine.root))
    assert [line for line in changed if not line.startswith("var/lib/blockhost-setup/")] == []
    assert compare.effects(machine.root) == effects

    assert _status_of(machine, "/api/finalize/status") == 503  # no wizard runs here, but nginx asks for it
    client.complete()
    wait_until(lambda: _status_of(machine, "/api/finalize/status") == 404, "the wizard's routes vanish")
    assert _status_of(machine, "/") == 200


def _status_of(machine: DryRun, path: str) -> int:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", machine.https_port, timeout=5, context=context)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()
