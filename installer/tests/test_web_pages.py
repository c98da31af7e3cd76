"""The pages: order, refusals at the field, answers that come back, secrets that do not."""

from __future__ import annotations

import html
import itertools
import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

BASE = "https://192.0.2.10"
SIGNER = "0x" + "1b" * 20
SIGNATURE = "0x" + "7" * 90 + SIGNER[2:]
ORDER = ["wallet", "network", "storage", "legacychain", "plain", "ipv6", "admin-commands", "summary"]

STATIC = {"method": "static", "address": "192.0.2.5", "netmask": "24", "gateway": "192.0.2.1"}

REFUSALS = [
    ("wallet", {}, "admin_wallet", "nothing was given"),
    ("wallet", {"admin_wallet": "0x12", "admin_signature": SIGNATURE}, "admin_wallet", "expected an address"),
    ("wallet", {"admin_signature": "0x12"}, "admin_signature", "expected a signature"),
    ("wallet", {"admin_signature": "0x" + "7" * 130}, "admin_signature", "got one by"),
    ("wallet", {"public_secret": ""}, "public_secret", "nothing was given"),
    ("network", {"method": "carrier-pigeon"}, "method", "dhcp or static"),
    ("network", STATIC | {"address": "10.0.0.300"}, "address", "10.0.0.300"),
    ("network", STATIC | {"address": ""}, "address", "nothing was given"),
    ("network", STATIC | {"netmask": "255.0.255.0"}, "netmask", "expected a netmask"),
    ("network", STATIC | {"gateway": "198.51.100.1"}, "gateway", "inside 192.0.2.0/24"),
    ("network", STATIC | {"dns": "9.9.9.9,nine"}, "dns", "addresses of DNS servers"),
    ("network", {"method": "dhcp", "interface": "../../etc"}, "interface", "name of a network interface"),
    ("network", {"method": "dhcp", "hostname": "-bad-.example"}, "hostname", "DNS name"),
    ("network", {"method": "dhcp", "acme_email": "nobody"}, "acme_email", "mail address"),
    ("storage", {}, "disk", "nothing was given"),
    ("storage", {"disk": "/dev/vda1"}, "disk", "whole disk"),
    ("storage", {"disk": "vdz"}, "disk", "no disk of this machine"),
    ("storage", {"disk": "sdb"}, "disk", "no disk of this machine"),
    ("storage", {"disk": "/dev/vda; reboot"}, "disk", "a disk such as"),
    ("ipv6", {}, "ipv6_mode", "nothing was given"),
    ("ipv6", {"ipv6_mode": "manual"}, "manual_prefix", "nothing was given"),
    ("ipv6", {"ipv6_mode": "manual", "manual_prefix": "2001:db8::/32"}, "manual_prefix", "48 to 120"),
    ("ipv6", {"ipv6_mode": "broker", "allocation_size": "47"}, "allocation_size", "48 to 120"),
    ("admin-commands", {}, "admin_enabled", "nothing was given"),
    ("admin-commands", {"admin_enabled": "yes"}, "knock_ports", "nothing was given"),
    ("admin-commands", {"admin_enabled": "yes", "knock_ports": "0"}, "knock_ports", "1 to 65535"),
    (
        "admin-commands",
        {"admin_enabled": "yes", "knock_ports": "22", "knock_timeout": "29"},
        "knock_timeout",
        "30",
    ),
]

WALLET = {"admin_wallet": SIGNER, "admin_signature": SIGNATURE, "public_secret": "blockhost-access"}


@pytest.fixture
def answered_site(open_site):
    open_site.answer_all()
    return open_site


@pytest.mark.parametrize(("page", "form", "field", "words"), REFUSALS)
def test_refusal_is_told_at_its_field(answered_site, page: str, form: dict, field: str, words: str) -> None:
    data = WALLET | form if page == "wallet" and form else form
    before = answered_site.sessions()
    answer = answered_site.post(f"/wizard/{page}", data=data)
    text = html.unescape(answer.text)
    assert answer.status_code == 422
    message = re.search(rf'id="{field}-error">([^<]*)<', text)
    assert message is not None, text
    assert words in message[1]
    assert f"{field}-error" in re.sub(rf'id="{field}-error"', "", text), "no input names the message"
    assert 'role="alert"' in text
    assert "<title>Error: " in text
    assert answered_site.sessions() == before


def test_refused_form_comes_back_filled_in(open_site) -> None:
    open_site.answer("wallet")
    answer = open_site.post("/wizard/network", data=STATIC | {"gateway": "10.9.9.9", "hostname": "<b>&\"'"})
    assert 'value="192.0.2.5"' in answer.text
    assert 'value="10.9.9.9"' in answer.text
    assert re.search(r'value="static" id="method-static" checked', answer.text)
    assert "<b>" not in answer.text


def test_all_faults_are_told_at_once(open_site) -> None:
    open_site.answer("wallet")
    answer = open_site.post("/wizard/network", data={"method": "static", "hostname": "_"})
    assert "Please correct 3 answers" in answer.text
    links = re.findall(r'<li><a href="#([a-z_]+)">([^<]+)</a>', answer.text)
    # In the order of the page, by the names that it shows.
    assert links == [("address", "IPv4 address"), ("gateway", "Gateway"), ("hostname", "Public name")]


@pytest.mark.parametrize("position", range(1, len(ORDER)))
def test_page_waits_for_those_before_it(open_site, position: int) -> None:
    open_site.answer(*ORDER[: position - 1])
    answer = open_site.get(f"/wizard/{ORDER[position]}")
    assert answer.status_code == 303
    assert answer.location == f"/wizard/{ORDER[position - 1]}"
    refused = open_site.post(f"/wizard/{ORDER[position]}", data={"confirm": "yes"})
    assert refused.location == f"/wizard/{ORDER[position - 1]}"
    assert open_site.worker.started is None


def test_each_answer_leads_to_the_next_page(open_site) -> None:
    forms = {
        "wallet": WALLET,
        "network": {"method": "dhcp"},
        "storage": {"disk": "/dev/vda"},
        "plain": {},
        "ipv6": {"ipv6_mode": "none"},
        "admin-commands": {"admin_enabled": "no"},
    }
    for page, following in itertools.pairwise(ORDER):
        if page in forms:
            answer = open_site.post(f"/wizard/{page}", data=forms[page])
            assert answer.location == f"/wizard/{following}"
        else:
            open_site.answer(page)


def test_both_forms_of_a_disk_are_the_same_answer(open_site) -> None:
    open_site.answer("wallet", "network")
    for disk in ("vda", "/dev/vda"):
        open_site.post("/wizard/storage", data={"disk": disk})
        assert open_site.sessions()[0]["selected_disk"] == "/dev/vda"


def test_answers_come_back_to_their_page(answered_site) -> None:
    answered_site.post("/wizard/network", data=STATIC | {"dns": "9.9.9.9, 1.1.1.1", "interface": "enp1s0"})
    text = answered_site.get("/wizard/network").text
    for value in ("192.0.2.5", "255.255.255.0", "192.0.2.1", "9.9.9.9,1.1.1.1"):
        assert f'value="{value}"' in text
    assert re.search(r'value="enp1s0" checked', text)
    assert re.search(r'value="/dev/vda" id="disk-first" checked', answered_site.get("/wizard/storage").text)


def test_secrets_reach_the_worker_and_nothing_else(answered_site) -> None:
    assert answered_site.worker.secrets == {"admin_signature": SIGNATURE, "deployer_key": "k-e-y"}
    seen = "".join(
        [
            *(file.read_text() for file in answered_site.session_dir.iterdir()),
            *(answered_site.get(f"/wizard/{page}").text for page in ORDER),
            answered_site.get("/api/finalize/status").text,
        ]
    )
    assert SIGNATURE not in seen
    assert "k-e-y" not in seen


def test_refused_signature_is_not_repeated(open_site) -> None:
    answer = open_site.post("/wizard/wallet", data=WALLET | {"admin_wallet": "0x" + "2c" * 20})
    assert answer.status_code == 422
    assert SIGNATURE not in answer.text
    assert ("0x" + "2c" * 20) in answer.text


def test_kept_signature_may_stay_empty_for_the_same_wallet_only(answered_site) -> None:
    assert "is kept" in answered_site.get("/wizard/wallet").text
    same = {"admin_wallet": SIGNER, "public_secret": "blockhost-access", "admin_signature": ""}
    assert answered_site.post("/wizard/wallet", data=same).status_code == 303
    assert answered_site.post("/wizard/wallet", data=same | {"public_secret": "x"}).status_code == 422
    assert answered_site.sessions()[0]["admin_signature"] == {"$secret": "admin_signature"}


def test_without_the_worker_no_secret_stays_here(open_site) -> None:
    open_site.worker.is_down = True
    answer = open_site.post("/wizard/wallet", data=WALLET)
    assert answer.status_code == 503
    assert SIGNATURE not in str(open_site.sessions())
    open_site.worker.is_down = False
    assert open_site.get("/wizard/network").location == "/wizard/wallet"


def test_disks_are_told_apart_and_the_medium_cannot_be_chosen(open_site) -> None:
    open_site.answer("wallet", "network")
    text = open_site.get("/wizard/storage").text
    for fact in ("QEMU HARDDISK", "QM00001", "512 GB", "/dev/vda", "ext4", "holds this system"):
        assert fact in text
    assert re.search(r'value="/dev/sdb"[^>]*disabled', text)


def test_summary_shows_every_change_and_what_cannot_be_undone(answered_site) -> None:
    text = answered_site.get("/wizard/summary").text
    for fact in (
        "Make the ledger",
        "/var/lib/blockhost/ledger.db",
        "cannot be undone",
        "20–240 s",
        "20–245 s",
    ):
        assert fact in text
    assert re.search(r'name="plan" value="[0-9a-f]{64}"', text)
    assert "https://rpc.example" in text, "the engine's own part"
    assert "cannot show its answers" in text, "the provisioner's part is broken"


def test_summary_wants_a_confirmation(answered_site) -> None:
    assert answered_site.post("/wizard/summary", data={}).status_code == 422
    assert answered_site.post("/wizard/summary", data={"confirm": "on"}).status_code == 422
    assert answered_site.worker.started is None


def test_confirmed_plan_starts_the_run(answered_site) -> None:
    plan = re.search(r'name="plan" value="([0-9a-f]{64})"', answered_site.get("/wizard/summary").text)[1]
    answer = answered_site.post("/wizard/summary", data={"confirm": "yes", "plan": plan})
    assert answer.location == "/wizard/install"
    assert answered_site.worker.started["selected_disk"] == "/dev/vda"
    assert set(answered_site.worker.started) == {
        "admin_wallet", "admin_signature", "admin_public_secret", "network", "selected_disk",
        "blockchain", "plain", "ipv6", "admin_commands",
    }  # fmt: skip


def test_changed_plan_is_shown_again(answered_site) -> None:
    answer = answered_site.post("/wizard/summary", data={"confirm": "yes", "plan": "0" * 64})
    assert answer.status_code == 422
    assert "The plan has changed" in answer.text
    assert answered_site.worker.started is None


def test_confirming_twice_leads_to_the_one_run(answered_site) -> None:
    for _ in range(2):
        assert answered_site.post("/wizard/summary", data={"confirm": "yes"}).location == "/wizard/install"
    assert [call for call, _ in answered_site.worker.calls].count("start") == 2


def test_progress_page_without_a_run_leads_to_the_summary(answered_site) -> None:
    assert answered_site.get("/wizard/install").location == "/wizard/summary"


def test_progress_page_tells_all_without_scripts(answered_site) -> None:
    worker = answered_site.worker
    worker.state = "running"
    worker.step_states = {"ledger": {"status": "in_progress", "started_at": 1000.0}}
    worker.event_list = [{"id": 7, "type": "log", "step": "ledger", "line": "<writing> tables"}]
    text = answered_site.get("/wizard/install").text
    assert '<meta http-equiv="refresh"' in text
    assert "Longer than usual (expected 0–5 s)" in text
    assert "&lt;writing&gt; tables" in text
    assert 'data-log-end="7"' in text


def test_failed_step_shows_reason_hint_and_retry(answered_site) -> None:
    worker = answered_site.worker
    worker.state = "failed"
    worker.step_states = {"ledger": {"status": "failed", "error": "disk <full>", "hint": "Make room"}}
    text = answered_site.get("/wizard/install").text
    assert "disk &lt;full&gt;" in text
    assert "Make room" in text
    assert "http-equiv" not in text
    assert answered_site.post("/wizard/install", data={}).location == "/wizard/install"
    assert worker.state == "running"


def test_start_leads_to_where_the_setup_stands(answered_site) -> None:
    for state, place in (("pending", "/wizard/summary"), ("running", "/wizard/install"),
                         ("failed", "/wizard/install"), ("completed", "/wizard/complete")):  # fmt: skip
        answered_site.worker.state = state
        assert answered_site.get("/").location == place


def test_complete_page_gives_panel_and_fingerprint(answered_site) -> None:
    assert answered_site.get("/wizard/complete").location == "/wizard/install"
    answered_site.worker.state = "completed"
    text = answered_site.get("/wizard/complete").text
    assert "https://192.0.2.10/admin/" in text
    assert ":".join(["AB"] * 32) in text
    assert answered_site.post("/wizard/complete", data={"action": "reboot"}).status_code == 200
    assert ("reboot", None) in answered_site.worker.calls
    assert answered_site.post("/wizard/complete", data={"action": "finish"}).status_code == 200
    assert ("complete", None) in answered_site.worker.calls


def test_pages_have_one_heading_a_language_and_a_title(answered_site) -> None:
    for page in ORDER:
        text = answered_site.get(f"/wizard/{page}").text
        if page == "plain":
            continue
        assert text.count("<h1") == 1, page
        assert '<html lang="en">' in text
        assert re.search(r"<title>[^<]+ – BlockHost</title>", text), page


def test_two_tabs_do_not_lose_each_others_answers(answered_site) -> None:
    """Both loaded the session before either saved: each change stays."""
    gate = threading.Barrier(2)
    hooks = answered_site.app.before_request_funcs[None]
    last = hooks[-1]

    def meet():
        gate.wait(5)
        return last()

    hooks[-1] = meet
    posts = [("network", STATIC), ("ipv6", {"ipv6_mode": "broker"})]

    def post(page: str, data: dict[str, str]) -> int:
        return answered_site.twin().post(f"/wizard/{page}", data=data, base_url=BASE).status_code

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda each: post(*each), posts)) == [303, 303]
    session = answered_site.sessions()[0]
    assert session["network"]["method"] == "static"
    assert session["ipv6"]["mode"] == "broker"
