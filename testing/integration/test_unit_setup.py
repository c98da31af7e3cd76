"""After a whole setup in a container: the units' sandboxes, as tight as they are, let the work be done.

How the setup itself survives deaths is in test_appliance_setup.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from testing.integration.nspawn import ADDRESS, ROUTER, Appliance
from testing.integration.outside import is_open, listen

pytestmark = [pytest.mark.nspawn, pytest.mark.timeout(900)]

ANSWERS = Path(__file__).resolve().parents[1] / "answers/local-libvirt.yaml"
MARK = "/var/lib/blockhost/clock.json"
SETUP_UNITS = ("firstboot", "worker", "wizard")
LASTING_UNITS = (
    "blockhost-firewall",
    "blockhost-root-agent",
    "blockhost-admin",
    "blockhost-monitor",
    "blockhost-vm-gc.timer",
    "nginx",
)


@pytest.fixture(scope="module")
def done(appliance_root: list[Path]) -> Iterator[Appliance]:
    """A machine whose setup was completed by the command-line client."""
    with fresh_machine(appliance_root) as machine:
        reply = machine.probe([*apply(machine), "--timeout", "300"], timeout=330)
        assert reply.code == 0, reply.stdout + reply.stderr + machine.journal("blockhost-worker")[-3000:]
        yield machine


def fresh_machine(root: list[Path]) -> AbstractContextManager[Appliance]:
    text = ANSWERS.read_text()
    answers = text.replace("../../build/run/owner-key", "/root/owner-key").replace(
        "method: dhcp", f"method: static\n  address: {ADDRESS}/24\n  gateway: {ROUTER}"
    )
    assert answers.count("/root/owner-key") == 1
    assert answers.count("method: static") == 1
    # bpf: without it IPAddressDeny would not be in force here.
    return Appliance.boot(
        root,
        files={"/root/answers.yaml": answers},
        ready="basic.target",
        wired=True,
        extra=["--system-call-filter=bpf"],
    )


def apply(machine: Appliance) -> list[str]:
    """The client's command, once the card would show what it needs."""
    machine.wait_for(lambda: machine.exists("/run/blockhost/otp.json"), "code", deadline_s=180)
    machine.wait_for(lambda: get(machine, "/login") == 200, "wizard", deadline_s=60)
    code = json.loads(machine.read_file("/run/blockhost/otp.json"))["code"]
    printed = machine.run(
        ["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", "/etc/blockhost/tls/server.crt"]
    )
    return [
        "blockhost-setup", "apply", "/root/answers.yaml", "--generate-key", "--url", f"https://{ADDRESS}",
        "--fingerprint", printed.partition("=")[2].strip(), "--otp", code,
    ]  # fmt: skip


def get(machine: Appliance, path: str) -> int:
    """The status of a page, through nginx and TLS; 0 when nobody answers."""
    script = (
        "import http.client, ssl, sys\n"
        "c = http.client.HTTPSConnection(sys.argv[1], context=ssl._create_unverified_context(), timeout=10)\n"
        "c.request('GET', sys.argv[2])\n"
        "print(c.getresponse().status)\n"
    )
    reply = machine.probe(["python3", "-I", "-c", script, ADDRESS, path], timeout=30)
    return int(reply.stdout) if reply.code == 0 else 0


def agent(machine: Appliance, *words: str) -> dict[str, object]:
    """Call the agent as the services do: as their user, over the socket."""
    reply = machine.run(["blockhost-agent", "call", *words], user="blockhost", timeout=120)
    answer = json.loads(reply)
    assert isinstance(answer, dict)
    return answer


def test_what_lasts_runs_and_what_does_not_is_gone(done: Appliance) -> None:
    for unit in LASTING_UNITS:
        assert done.is_active(unit), done.journal(unit)[-2000:]
        assert done.run(["systemctl", "is-enabled", unit]).strip() == "enabled"
    for name in SETUP_UNITS:
        done.wait_for(lambda name=name: done.state(f"blockhost-{name}") == "inactive", f"end of {name}")
    assert done.failed_units() == []


def test_visitors_see_the_signup_page_and_the_operator_the_panel(done: Appliance) -> None:
    assert get(done, "/") == 200
    assert get(done, "/admin/login") == 200


def test_the_agents_sandbox_lets_its_actions_work(done: Appliance) -> None:
    agent(done, "iptables-open", "port=4444", "proto=tcp", "comment=test")
    assert "4444" in done.run(["nft", "list", "ruleset"])
    agent(done, "iptables-close", "port=4444", "proto=tcp", "comment=test")
    assert "4444" not in done.run(["nft", "list", "ruleset"])
    agent(done, "ip6-route-add", "address=2001:db8::5/128", "dev=br0")
    assert "2001:db8::5 dev br0" in done.run(["ip", "-6", "route"])
    agent(done, "ip6-route-del", "address=2001:db8::5/128", "dev=br0")
    assert agent(done, "virsh-list")["domains"] == {}


def test_the_panel_moves_while_nginx_serves(done: Appliance) -> None:
    """nginx -t inside the agent's sandbox: ports, logs, pid file and key must all be within reach."""
    agent(done, "admin-path-update", "path_prefix=/ops")
    assert get(done, "/ops/login") == 200
    assert get(done, "/admin/login") == 404
    agent(done, "admin-path-update", "path_prefix=/admin")
    assert get(done, "/admin/login") == 200


def test_validation_sees_whether_visitors_are_kept_out(done: Appliance) -> None:
    listen(done, 8080)
    assert not is_open(done, 8080)
    assert "ok    FW-DROP-02" in done.run(["blockhost-setup", "verify"], timeout=120)
    done.run(["nft", "flush", "ruleset"])
    assert is_open(done, 8080)  # the control: it is the firewall that keeps them out
    reply = done.probe(["blockhost-setup", "verify"], timeout=120)
    assert (reply.code, "FAIL  FW-DROP-02" in reply.stdout) == (1, True), reply.stdout
    done.run(["systemctl", "restart", "blockhost-firewall"])
    assert not is_open(done, 8080)
    assert " 0 failed" in done.run(["blockhost-setup", "verify"], timeout=120)


def test_machines_end_by_a_clock_that_is_known(done: Appliance) -> None:
    """In the sandbox of its unit, gc asks the kernel and keeps the mark; a leap of years is told."""
    done.run(["systemctl", "start", "blockhost-vm-gc.service"], timeout=120)
    assert "relied on:    yes" in done.run(["blockhost-clock", "show"])
    before = json.loads(done.read_file(MARK))["body"]
    for name in (MARK, f"{MARK}.previous"):
        done.run(["rm", "-f", name])
    write_mark = f"from blockhost import wall_clock as w; w._store(w.Mark({before['wall'] - 3e8}, 'x', 1.0))"
    done.run(["python3", "-c", write_mark])
    done.run(["systemctl", "start", "blockhost-vm-gc.service"], timeout=120)
    assert "the clock cannot be relied on" in done.journal("blockhost-vm-gc")
    assert done.probe(["blockhost-clock", "show"]).code == 1
    done.run(["blockhost-clock", "trust"])
    assert done.probe(["blockhost-clock", "show"]).code == 0
    assert done.run(["stat", "--format=%U:%G %a", MARK]).strip() == "blockhost:blockhost 640"


def test_nobody_else_may_ask_the_agent(done: Appliance) -> None:
    for user in ("www-data", "nobody", "blockhost-wizard"):
        reply = done.probe(["blockhost-agent", "call", "virsh-list"], user=user)
        assert reply.code == 1
        assert "Permission denied" in reply.stderr or "may not talk" in reply.stderr, reply.stderr


def test_no_sandbox_was_in_the_way(done: Appliance) -> None:
    for name in ("root-agent", "admin", "monitor", "vm-gc", "firewall", *SETUP_UNITS):
        journal = done.journal(f"blockhost-{name}")
        for sign in ("Traceback", "Read-only file system", "Operation not permitted", "SIGSYS", "core-dump"):
            assert sign not in journal, journal[-3000:]


def test_the_host_serves_after_a_reboot(done: Appliance) -> None:
    done.reboot()
    done.wait_for(lambda: get(done, "/") == 200 and get(done, "/admin/login") == 200, "site")
    for unit in LASTING_UNITS:
        assert done.is_active(unit)
    for name in SETUP_UNITS:
        assert done.state(f"blockhost-{name}") == "inactive"
    assert done.failed_units() == []
