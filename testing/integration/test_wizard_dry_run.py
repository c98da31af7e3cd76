"""The wizard as it runs: its own process, the real worker, real nginx with TLS; only the edges are fake."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

import pytest

from blockhost.command import run
from testing.dry_run import DryRun, dry_run

MESSAGE = "blockhost-access"
DEADLINE_S = 90.0


class Browserless:
    """A plain HTTP client with a cookie jar of one."""

    def __init__(self, machine: DryRun) -> None:
        self.machine = machine
        self.cookie = ""

    def connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return http.client.HTTPSConnection("127.0.0.1", self.machine.https_port, timeout=60, context=context)

    def ask(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], str]:
        if self.cookie:
            headers["Cookie"] = self.cookie
        connection = self.connect()
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
            found = {name.lower(): value for name, value in answer.getheaders()}
            if "set-cookie" in found:
                self.cookie = found["set-cookie"].split(";")[0]
            return answer.status, found, text
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], str]:
        return self.ask("GET", path, **headers)

    def form(self, path: str, **fields: str) -> tuple[int, dict[str, str], str]:
        return self.ask(
            "POST", path, urlencode(fields), **{"Content-Type": "application/x-www-form-urlencoded"}
        )

    def api(self, path: str, document: Any = None) -> tuple[int, dict[str, Any]]:
        body = json.dumps(document if document is not None else {})
        status, _, text = self.ask("POST", path, body, **{"Content-Type": "application/json"})
        return status, json.loads(text)

    def status(self) -> dict[str, Any]:
        document = json.loads(self.get("/api/finalize/status")[2])
        assert isinstance(document, dict)
        return document

    def log_in(self) -> None:
        code = self.machine.run("-c", "from blockhost import codes; print(codes.issue().code)").strip()
        status, _, text = self.form("/login", otp=code)
        assert status == 303, text

    def answer_all(self, fingerprint: str, signature: str) -> None:
        """Every page, each from what the page before led to."""
        forms = [
            ("wallet", {"admin_wallet": fingerprint, "admin_signature": signature, "public_secret": MESSAGE}),
            ("network", {"method": "dhcp"}),
            ("storage", {"disk": self.first_disk()}),
            (
                "local",
                {
                    "plan_name": "Small",
                    "plan_price_cents": "50",
                    "plan_cpu": "1",
                    "plan_memory_mb": "1024",
                    "plan_disk_gb": "10",
                },
            ),
            (
                "libvirt",
                {
                    "storage_pool": "blockhost",
                    "storage_path": "/var/lib/libvirt/images/blockhost",
                    "ip_network": "192.0.2.0/24",
                    "ip_start": "192.0.2.200",
                    "ip_end": "192.0.2.210",
                    "gateway": "192.0.2.1",
                    "gc_grace_days": "7",
                },
            ),
            ("ipv6", {"ipv6_mode": "none"}),
            ("admin-commands", {"admin_enabled": "no"}),
        ]
        for (name, form), (following, _) in zip(forms, [*forms[1:], ("summary", {})], strict=True):
            if name == "libvirt":  # what it proposes comes from the worker: the wizard sees no network
                assert 'value="192.0.2.1"' in self.get("/wizard/libvirt")[2]
            status, headers, text = self.form(f"/wizard/{name}", **form)
            assert (status, headers.get("location")) == (303, f"/wizard/{following}"), text

    def first_disk(self) -> str:
        disks = json.loads(self.get("/api/storage/disks")[2])
        return str(next(disk["path"] for disk in disks if disk["is_selectable"]))


@pytest.fixture(scope="module")
def machine() -> Iterator[DryRun]:
    with dry_run() as machine:
        yield machine


@pytest.fixture
def fresh_machine() -> Iterator[DryRun]:
    """One of its own, for tests that run the setup."""
    with dry_run() as machine:
        yield machine


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The fingerprint of a key made for this run, and its signature over the message."""
    key = tmp_path_factory.mktemp("key") / "id_ed25519"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key])
    signature = run(["ssh-keygen", "-Y", "sign", "-n", "blockhost", "-f", key], stdin=MESSAGE)
    return run(["ssh-keygen", "-l", "-f", f"{key}.pub"]).split()[1], signature


@pytest.fixture
def client(machine: DryRun) -> Browserless:
    return Browserless(machine)


def wait_until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.05)


def test_socket_and_sessions_are_private(machine: DryRun, client: Browserless) -> None:
    client.log_in()
    place = machine.root / "run/blockhost-wizard"
    assert stat.S_IMODE((place / "wizard.sock").stat().st_mode) == 0o660
    assert stat.S_IMODE((place / "sessions").stat().st_mode) == 0o700
    files = list((place / "sessions").iterdir())
    assert files
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_headers_survive_the_proxy(client: Browserless) -> None:
    status, headers, _ = client.get("/login")
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert "waitress" not in headers.get("server", "").lower()
    assert "strict-transport-security" not in headers, "the local authority must not lock anybody out"


def test_rebinding_and_other_origins_are_refused_behind_the_proxy(client: Browserless) -> None:
    client.log_in()
    assert client.get("/wizard/wallet")[0] == 200
    assert client.get("/wizard/wallet", Host="evil.example")[0] == 421
    own = f"https://127.0.0.1:{client.machine.https_port}"
    for origin, expected in (
        (own, 303),
        ("https://127.0.0.1", 403),
        ("null", 403),
        ("https://evil.example", 403),
    ):
        assert client.ask("POST", "/wizard/ipv6", "", Origin=origin)[0] == expected, origin


def test_what_a_client_claims_about_its_address_is_worth_nothing(client: Browserless) -> None:
    status, _, _ = client.get("/login", **{"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"})
    assert status == 200


def test_setup_test_is_absent(client: Browserless) -> None:
    assert client.api("/api/setup-test", {"otp": "x"})[0] == 404


def test_two_hundred_idle_connections_do_not_stop_a_real_one(client: Browserless) -> None:
    held = []
    try:
        for number in range(200):
            probe = socket.create_connection(("127.0.0.1", client.machine.https_port), timeout=10)
            if number % 2:  # half of them stop in the middle of the handshake
                probe.sendall(b"\x16\x03\x01\x02\x00")
            held.append(probe)
        before = time.monotonic()
        # nginx limits one address; the honest visitor has another.
        connection = client.connect()
        connection.source_address = ("127.0.0.2", 0)
        connection.request("GET", "/login")
        assert connection.getresponse().status == 200
        connection.close()
        assert time.monotonic() - before < 1.0
    finally:
        for probe in held:
            probe.close()


def test_fifty_guessers_get_exactly_ten_guesses(fresh_machine: DryRun) -> None:
    code = fresh_machine.run("-c", "from blockhost import codes; print(codes.issue().code)").strip()
    wrong = [f"{'A' * 6}{number:02}".replace("0", "Z").replace("1", "Y") for number in range(50)]

    def guess(text: str) -> tuple[int, str]:
        status, _, page = Browserless(fresh_machine).form("/login", otp=text)
        return status, page

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(guess, [text for text in wrong if text != code]))
    assert {status for status, _ in answers} <= {422, 429}
    # Nine are told "wrong"; the tenth locks the code, and so say all that come later.
    assert sum("That is not the code" in page for _, page in answers) == 9
    state = json.loads((fresh_machine.root / "run/blockhost/otp.json").read_text())
    assert (state["attempts"], state["locked"]) == (10, True)
    assert Browserless(fresh_machine).form("/login", otp=code)[0] in (422, 429), (
        "the right code is locked too"
    )
    # Renewed on the console: the operator is never locked out, even from the flood's own address.
    code = fresh_machine.run("-c", "from blockhost import codes; print(codes.issue().code)").strip()
    status, headers, _ = Browserless(fresh_machine).form("/login", otp=code)
    assert status == 429
    assert int(headers["retry-after"]) <= 5
    wait_until(lambda: Browserless(fresh_machine).form("/login", otp=code)[0] == 303, "the operator's login")


def test_run_survives_the_wizard_and_eight_starts_are_one(
    fresh_machine: DryRun, identity: tuple[str, str]
) -> None:
    client = Browserless(fresh_machine)
    client.log_in()
    client.answer_all(*identity)
    assert client.get("/wizard/summary")[0] == 200

    with ThreadPoolExecutor(8) as pool:
        starts = list(pool.map(lambda _: client.api("/api/finalize"), range(8)))
    assert sorted(status for status, _ in starts) == [202] + [409] * 7
    (run_id,) = {document["run_id"] for _, document in starts}

    seen = read_events(client, count=3)
    fresh_machine.kill("wizard")
    fresh_machine.start("wizard")
    again = client.status()  # the session is still good: nobody types anything twice
    assert again["run_id"] == run_id
    following = read_events(client, count=1, after=seen[-1])
    assert following[0] == seen[-1] + 1, "nothing lost, nothing twice"

    wait_until(lambda: client.status()["status"] in ("completed", "failed"), "the end of the run")
    status = client.status()
    assert status["status"] == "completed", (status["error"], status["hint"])
    assert status["progress"] == 100
    assert client.get("/wizard/complete")[0] == 200
    assert_nowhere(fresh_machine, identity[1])


def read_events(client: Browserless, *, count: int, after: int = 0) -> list[int]:
    """Numbers of the next `count` events, as a browser's EventSource reads them."""
    connection = client.connect()
    headers = {"Cookie": client.cookie, "Last-Event-ID": str(after)}
    connection.request("GET", "/api/finalize/events", headers=headers)
    answer = connection.getresponse()
    assert answer.getheader("Content-Type", "").startswith("text/event-stream")
    numbers: list[int] = []
    while len(numbers) < count:
        line = answer.readline().decode()
        assert line, "the stream ended"
        if line.startswith("id: "):
            numbers.append(int(line[4:]))
    connection.close()
    return numbers


def assert_nowhere(machine: DryRun, signature: str) -> None:
    """The signature is in no file of the wizard and in no log; its text may be wrapped differently."""
    inner = "".join(line for line in signature.splitlines() if not line.startswith("-----"))
    canary = inner[-60:-10]
    looked = 0
    for folder in ("run/blockhost-wizard", "var/log", "var/lib/blockhost/setup-state.json"):
        place = machine.root / folder
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            if file.is_file():
                looked += 1
                assert canary not in file.read_text(errors="replace").replace("\n", ""), file
    assert looked >= 5
