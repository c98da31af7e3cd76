"""The main job on real input: ISO → installed → card → wizard → power cut → services → reboot.

Nothing is faked here but the hardware. `make test-vm CASE=bios|uefi`.
"""

from __future__ import annotations

import html
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from blockhost import command
from blockhost.errors import CommandFailed
from testing.vm.appliance import TOP, Appliance, Card, iso_under_test
from testing.vm.ci_client import CiClient, wait_until
from testing.vm.customer import Customer, fingerprint
from testing.vm.qemu import Firmware
from testing.vms.host import keypair

pytestmark = [pytest.mark.vm, pytest.mark.timeout(2400)]

FINALIZE_DEADLINE_S = 900.0
SERVICES = (
    "blockhost-firewall", "blockhost-root-agent", "blockhost-monitor", "blockhost-admin", "nginx",
)  # fmt: skip
PUBLIC_SECRET = "blockhost-access"


class Owner:
    """The operator's identity: an SSH key made for this run."""

    def __init__(self, directory: Path) -> None:
        self.key = keypair(directory, "owner-key")
        self.wallet = fingerprint(self.key)

    def sign(self, message: str) -> str:
        return command.run(
            ["ssh-keygen", "-Y", "sign", "-n", "blockhost", "-f", self.key, "-"], stdin=message
        )


@pytest.fixture
def owner(tmp_path: Path) -> Owner:
    return Owner(tmp_path)


@pytest.fixture
def appliance(request: pytest.FixtureRequest) -> Iterator[Appliance]:
    firmware = Firmware.UEFI if "uefi" in request.node.name else Firmware.BIOS
    directory = TOP / "build/vm" / request.node.name
    with Appliance(directory, iso=iso_under_test(), firmware=firmware) as machine:
        yield machine
        print("[vm] timings:", {k: round(v) for k, v in machine.timings.items()}, flush=True)


def answers(owner: Owner) -> dict[str, dict[str, str]]:
    """Route → fields, in the wizard's order."""
    return {
        "/wizard/wallet": {
            "admin_wallet": owner.wallet,
            "admin_signature": owner.sign(PUBLIC_SECRET),
            "public_secret": PUBLIC_SECRET,
        },
        "/wizard/network": {"method": "dhcp", "interface": "br0"},
        "/wizard/storage": {"disk": "/dev/vda"},
        "/wizard/local": {
            "plan_name": "Small",
            "plan_price_cents": "10",
            "plan_cpu": "1",
            "plan_memory_mb": "1024",
            "plan_disk_gb": "10",
        },
        "/wizard/libvirt": {
            "storage_pool": "blockhost",
            "storage_path": "/var/lib/libvirt/images/blockhost",
            "ip_network": "10.0.2.0/24",
            "ip_start": "10.0.2.100",
            "ip_end": "10.0.2.150",
            "gateway": "10.0.2.2",
            "gc_grace_days": "7",
        },
        "/wizard/ipv6": {"ipv6_mode": "none"},
        "/wizard/admin-commands": {"admin_enabled": "no"},
    }


def test_vm_bios_every_page_power_cut_and_reboot(appliance: Appliance, owner: Owner, tmp_path: Path) -> None:
    appliance.install()
    card = appliance.card()
    appliance.wait_for_https(card)
    ci = appliance.client(card)

    log_in(ci, card)
    given = answers(owner)
    for route, fields in given.items():
        if route == "/wizard/network":
            refuse_bad_network(ci)
        ci.page(route, fields)
    summary = ci.get("/wizard/summary")
    assert summary.status == 200, summary.body[:2000]
    plan = re.search(r'name="plan"[^>]*value="([0-9a-f]{64})"', summary.body)
    assert plan, "the summary shows no plan"
    assert ci.post("/wizard/summary", {"confirm": "yes", "plan": plan[1]}).status in (302, 303)

    run_id = cut_the_power_in_the_middle(appliance, ci)
    card = appliance.card()
    appliance.wait_for_https(card)
    ci = appliance.client(card)
    log_in(ci, card)
    status = finished(appliance, ci)
    assert status["run_id"] == run_id, "it continued, it did not start anew"
    report = ci.get("/api/validation-output").json()
    assert report["success"], report["output"]
    before = boot_id(appliance)
    assert ci.post("/api/reboot").status in (200, 202)
    panel = after_reboot(appliance, card, owner, before)
    exported_equals(appliance, given)
    sells_a_machine(appliance, panel, tmp_path)


def test_vm_uefi_secure_boot_lvm_by_answers_file(appliance: Appliance, owner: Owner) -> None:
    appliance.install(menu_key="l")
    card = appliance.card()
    appliance.wait_for_https(card)
    file = appliance.directory / "answers.yaml"
    sections = {route.rsplit("/", 1)[1]: dict(fields) for route, fields in answers(owner).items()}
    document = {
        "version": 1,
        "wallet": sections["wallet"],
        "network": sections["network"],
        "storage": sections["storage"],
        "engine": {"name": "local", **sections["local"]},
        "provisioner": {"name": "libvirt", **sections["libvirt"]},
        "ipv6": sections["ipv6"],
        "admin_commands": sections["admin-commands"],
    }
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    file.chmod(0o600)
    started = time.monotonic()
    setup(
        "apply", str(file), "--url", f"https://127.0.0.1:{appliance.https_port}",
        "--fingerprint", card.fingerprint, "--otp", card.code,
    )  # fmt: skip
    appliance.mark("apply", started)
    secure = appliance.ssh("od", "-An", "-tu1", "-j4", "/sys/firmware/efi/efivars/SecureBoot-*")
    assert secure.split() == ["1"]
    assert "/dev/mapper/" in appliance.ssh("findmnt", "-no", "SOURCE", "/")
    before = boot_id(appliance)
    appliance.ssh("systemctl", "reboot", "--no-block")
    after_reboot(appliance, card, owner, before)


def log_in(ci: CiClient, card: Card) -> None:
    wrong = ("B" if card.code[0] == "A" else "A") + card.code[1:]
    assert ci.post("/login", {"otp": wrong}).status == 422
    assert ci.get("/wizard/wallet").status in (302, 303), "a page without a session"
    reply = ci.post("/login", {"otp": card.code})
    assert reply.status in (302, 303), f"{reply.status} {reply.alerts}"


def refuse_bad_network(ci: CiClient) -> None:
    """A refused page says why and keeps what was typed."""
    typed = {"method": "static", "interface": "br0", "address": "10.0.2.300", "netmask": "255.255.255.0"}
    reply = ci.post("/wizard/network", typed)
    assert reply.status == 422
    assert "10.0.2.300" in reply.body
    assert reply.alerts


def cut_the_power_in_the_middle(appliance: Appliance, ci: CiClient) -> str:
    """Pull the plug once some steps are done and one is at work; returns the run's id."""
    started = time.monotonic()

    def in_the_middle() -> dict[str, object] | None:
        status: dict[str, object] = ci.get("/api/finalize/status").json()
        assert status["status"] != "failed", status
        done = status["completed_steps"]
        assert isinstance(done, list)
        return status if len(done) >= 3 and status["status"] == "running" else None

    status = wait_until(in_the_middle, FINALIZE_DEADLINE_S, "three steps done", pause=0.2)
    appliance.pull_the_plug()
    appliance.mark(f"start to power cut in {status['current_step']}", started)
    appliance.start()
    return str(status["run_id"])


def finished(appliance: Appliance, ci: CiClient) -> dict[str, object]:
    """The status once the run, which nobody restarted, is completed."""
    started = time.monotonic()

    def done() -> dict[str, object] | None:
        status: dict[str, object] = ci.get("/api/finalize/status").json()
        assert status["status"] != "failed", f"{status}\n{appliance.tail()}"
        return status if status["status"] == "completed" else None

    status: dict[str, object] = wait_until(done, FINALIZE_DEADLINE_S, "completed")
    appliance.mark("continuing to completed", started)
    return status


def after_reboot(appliance: Appliance, card: Card, owner: Owner, before: str) -> CiClient:
    """Services are up by themselves, the signup page is served, the wizard is gone, the panel lets us in."""
    started = time.monotonic()
    visitor = appliance.client(card)
    wait_until(lambda: boot_id(appliance) != before, 420, "another boot", pause=2)

    def up() -> bool:
        states = appliance.ssh("systemctl", "is-active", *SERVICES, "||", "true").split()
        return states == ["active"] * len(SERVICES) and visitor.get("/").status == 200

    wait_until(up, 420, "services after the reboot", pause=2)
    appliance.mark("reboot to services", started)
    page = visitor.get("/")
    assert "Small" in page.body, "the signup page offers the plan"
    assert visitor.get("/wizard/summary").status == 404
    assert visitor.get("/admin/login").status == 200
    assert appliance.ssh("systemctl", "--failed", "--no-legend", "--plain").strip() == ""
    log_into_panel(visitor, owner)
    return visitor


def boot_id(appliance: Appliance) -> str:
    try:
        return appliance.ssh("cat", "/proc/sys/kernel/random/boot_id").strip()
    except CommandFailed as error:  # not up yet
        raise OSError(str(error)) from error


def log_into_panel(visitor: CiClient, owner: Owner) -> None:
    """The panel's one-time challenge, signed with the owner's key."""
    page = visitor.get("/admin/login").body
    message = re.search(r'id="message">(.*?)<', page, re.DOTALL)
    code = re.search(r'name="code" value="([^"]+)"', page)
    assert message, page[:2000]
    assert code, page[:2000]
    signature = owner.sign(html.unescape(message[1]))
    reply = visitor.post_json("/admin/api/auth/verify", {"code": code[1], "signature": signature})
    assert reply.status == 200, reply.body
    assert visitor.get("/admin/api/system").status == 200


def exported_equals(appliance: Appliance, given: dict[str, dict[str, str]]) -> None:
    """`blockhost-setup export` says what was answered."""
    exported = yaml.safe_load(appliance.ssh("blockhost-setup", "export", "--secrets"))
    sections = {
        "wallet": "/wizard/wallet",
        "network": "/wizard/network",
        "storage": "/wizard/storage",
        "engine": "/wizard/local",
        "provisioner": "/wizard/libvirt",
        "ipv6": "/wizard/ipv6",
    }
    for name, route in sections.items():
        for field, value in given[route].items():
            found = str(exported[name][field])
            assert found.split() == value.split(), f"{name}.{field}: {found!r} went out, {value!r} went in"


def sells_a_machine(appliance: Appliance, panel: CiClient, directory: Path) -> None:
    """What all of it is for: a customer's key goes in at the till, and a login comes out."""
    started = time.monotonic()
    customer, stranger = Customer(directory, "customer"), Customer(directory, "stranger")
    number = customer.subscribes(appliance, "Small")
    details = customer.details(appliance, number)
    appliance.mark("grant to machine", started)
    said = customer.log_in(appliance, details, "hostname; nproc; getent passwd user")
    assert said.split()[:2] == ["blockhost-001", "1"]
    assert f"wallet={customer.fingerprint.replace(':', '-')}" in said
    with pytest.raises(CommandFailed, match="Permission denied"):
        stranger.log_in(appliance, details, "true")
    (shown,) = panel.get("/admin/api/vms").json()["vms"]
    assert (shown["name"], shown["status"], shown["ip"]) == ("blockhost-001", "active", details["ip"])
    assert appliance.ssh("virsh", "list", "--name").split() == ["blockhost-001"]


def setup(*arguments: str) -> str:
    """`blockhost-setup` from this tree, as an operator's laptop would run it."""
    parts = ("packages/common", "plugins/engine-local", "plugins/provisioner-libvirt", ".")
    env = {"PYTHONPATH": os.pathsep.join(str(TOP / part) for part in parts)}
    return command.run([sys.executable, "-m", "installer.setup_cli", *arguments], env=env, timeout=1500)
