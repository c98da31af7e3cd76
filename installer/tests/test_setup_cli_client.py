"""The client's manners: the pin before everything, redirects, retries, cookies, streams, pages."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import http.server
import io
import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from blockhost import command
from blockhost.errors import BlockhostError
from blockhost.secret import Secret
from installer.setup_cli import http as client
from installer.setup_cli import main, signing, watch
from installer.setup_cli.http import BadAnswer, Browser, Unreachable, parse_url
from installer.setup_cli.output import Terminal
from installer.setup_cli.page import Complaint, read_page
from installer.setup_cli.tls import CertificateMismatch, Pins, colons, parse_fingerprint

EXAMPLE = Path(__file__).resolve().parents[2] / "testing" / "answers" / "local-libvirt.yaml"
ROUTES = ["wallet", "network", "storage", "local", "libvirt", "ipv6", "admin-commands", "summary"]


@dataclasses.dataclass(frozen=True)
class Certificate:
    file: Path
    key: Path
    fingerprint: str


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> list[Certificate]:
    """Two throw-away certificates: the one that is pinned, and another."""
    directory = tmp_path_factory.mktemp("tls")
    return [_certificate(directory, name) for name in ("first", "second")]


def _certificate(directory: Path, name: str) -> Certificate:
    file, key = directory / f"{name}.crt", directory / f"{name}.key"
    command.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-days", "2", "-subj", f"/CN={name}", "-keyout", key, "-out", file]
    )  # fmt: skip
    der = ssl.PEM_cert_to_DER_cert(file.read_text())
    return Certificate(file, key, colons(hashlib.sha256(der).digest()))


class FakeWizard:
    """A wizard of few words over real TLS: what it got is in `posted`, what it says is set by the test."""

    def __init__(self, certificates: list[Certificate]) -> None:
        self.certificates = certificates
        self.otp = "ABCDEFGH"
        self.posted: list[tuple[str, dict[str, str]]] = []
        self.requests: list[str] = []
        self.hosts: list[str] = []
        self.bytes_after_handshake = 0
        self.refusals: dict[str, str] = {}
        self.drops: dict[str, int] = {}
        self.statuses: list[dict[str, Any]] = []
        self.started = False
        self.finished: list[str] = []
        self.on_status: Callable[[int], None] = lambda count: None
        self.asked = 0
        self.trial = ""
        self.trial_left = 120
        self._new: http.server.ThreadingHTTPServer | None = None
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._contexts = [self._context(certificate) for certificate in certificates]
        self.serve_certificate(0)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._server.server_address[1]}"

    def serve_certificate(self, number: int) -> None:
        self._current = self._contexts[number]

    def try_address(self, address: str, *, works: bool = True) -> None:
        """From now on the network page leads to a trial of this address; there we answer if it works."""
        self.trial = address
        if works:
            port = self._server.server_address[1]
            self._new = http.server.ThreadingHTTPServer((address, port), self._handler())
            self._new.daemon_threads = True
            threading.Thread(target=self._new.serve_forever, kwargs={"poll_interval": 0.02}).start()

    def close(self) -> None:
        for server in (self._server, self._new):
            if server is not None:
                server.shutdown()
                server.server_close()
        self._thread.join(10)

    @staticmethod
    def _context(certificate: Certificate) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.file, certificate.key)
        return context

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        wizard = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                self.request.settimeout(5)
                self.request = wizard._current.wrap_socket(self.request, server_side=True)
                super().setup()

            def handle(self) -> None:
                with contextlib.suppress(OSError):
                    super().handle()

            def finish(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().finish()
                self.request.close()

            def parse_request(self) -> bool:
                wizard.bytes_after_handshake += len(self.raw_requestline)
                return super().parse_request()

            def log_message(self, *_: object) -> None:
                return

            def do_GET(self) -> None:
                wizard._answer(self, "GET", {})

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                form = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
                wizard._answer(self, "POST", form)

        return Handler

    def _answer(self, handler: http.server.BaseHTTPRequestHandler, method: str, form: dict[str, str]) -> None:
        path = handler.path
        self.requests.append(f"{method} {path}")
        if self.drops.get(f"{method} {path}", 0) > 0:
            self.drops[f"{method} {path}"] -= 1
            handler.close_connection = True
            handler.connection.close()
            return
        logged_in = "__Host-blockhost=id" in (handler.headers.get("Cookie") or "")
        host = (handler.headers.get("Host") or "").rpartition(":")[0]
        self.hosts.append(host)
        if method == "POST" and path.startswith(("/wizard", "/login")):
            self.posted.append((path, form))
        self._reply(handler, *self._decide(method, path, form, logged_in, host))

    def _decide(
        self, method: str, path: str, form: dict[str, str], logged_in: bool, handler_host: str
    ) -> tuple[int, str, dict[str, str]]:
        if path == "/healthz":
            return 200, '{"status":"ok","version":"1"}', {}
        if path == "/login" and method == "POST":
            if form.get("otp") != self.otp:
                return 422, '<div role="alert">That is not the code.</div>', {}
            self.otp = ""
            cookie = "__Host-blockhost=id; Path=/; Secure; HttpOnly; SameSite=Strict"
            return 303, "", {"Location": "/", "Set-Cookie": cookie}
        if not logged_in:
            return (401, '{"error":"Log in first."}', {}) if path.startswith("/api/") else (
                303, "", {"Location": "/login"}
            )  # fmt: skip
        if path == "/api/network/confirm":
            if not self.trial or handler_host != self.trial:
                return 409, '{"error":"Ask this at the new address."}', {}
            self.trial = ""
            return 200, '{"status":"kept"}', {}
        return self._inside(method, path)

    def _inside(self, method: str, path: str) -> tuple[int, str, dict[str, str]]:
        page = path.removeprefix("/wizard/")
        if method == "POST" and page in ROUTES:
            if page in self.refusals:
                return 422, self.refusals[page], {}
            if page == "summary":
                self.started = True
                return 303, "", {"Location": "/wizard/install"}
            return 303, "", {"Location": f"/wizard/{ROUTES[ROUTES.index(page) + 1]}"}
        if path == "/api/finalize/status":
            return 200, json.dumps(self._status()), {}
        if path == "/api/network/trial":
            return 200, json.dumps({"address": self.trial, "seconds_left": self.trial_left}), {}
        if path in ("/api/complete", "/api/reboot"):
            self.finished.append(path)
            return 200, "{}", {}
        if path == "/api/finalize/events":
            return 503, '{"error":"Too many watchers."}', {}
        return 200, '<title>x</title><input type="hidden" name="plan" value="abc123">', {}

    def _status(self) -> dict[str, Any]:
        if not self.started:
            return {"status": "pending", "steps": {}}
        self.asked += 1
        self.on_status(self.asked)
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    @staticmethod
    def _reply(
        handler: http.server.BaseHTTPRequestHandler, status: int, body: str, headers: dict[str, str]
    ) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body.encode())))
        handler.end_headers()
        handler.wfile.write(body.encode())


def run_status(state: str, **steps: str | dict[str, Any]) -> dict[str, Any]:
    return {
        "status": state,
        "progress": 50,
        "steps": {name: step if isinstance(step, dict) else {"status": step} for name, step in steps.items()},
    }


@pytest.fixture
def wizard(
    certificates: list[Certificate], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[FakeWizard]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(watch, "POLL_S", 0.01)
    fake = FakeWizard(certificates)
    fake.statuses = [run_status("running", ledger="in_progress"), run_status("completed", ledger="completed")]
    yield fake
    fake.close()


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """The published example with a key beside it."""
    document = yaml.safe_load(EXAMPLE.read_text())
    document["wallet"]["key"] = "owner"
    path = tmp_path / "answers.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


def apply(wizard: FakeWizard, answers: Path, *more: str, otp: str = "ABCDEFGH", pin: int = 0) -> int:
    fingerprint = wizard.certificates[pin].fingerprint
    code = ["--otp", otp] if otp else []
    target = ["--url", wizard.url, "--fingerprint", fingerprint]
    return main(["apply", str(answers), *target, *code, "--generate-key", *more])


# --- applying ---------------------------------------------------------------------------------


def test_a_whole_setup_posts_each_page_in_order(wizard: FakeWizard, answers: Path) -> None:
    assert apply(wizard, answers) == 0
    assert [path for path, _form in wizard.posted] == ["/login", *(f"/wizard/{route}" for route in ROUTES)]
    forms = dict(wizard.posted)
    assert forms["/wizard/wallet"]["admin_wallet"].startswith("SHA256:")
    assert forms["/wizard/wallet"]["admin_signature"].startswith("-----BEGIN SSH SIGNATURE-----\n")
    assert forms["/wizard/storage"] == {"disk": "/dev/vda"}
    assert forms["/wizard/local"]["plan_memory_mb"] == "512"
    assert "name" not in forms["/wizard/local"]
    assert forms["/wizard/summary"] == {"confirm": "yes", "plan": "abc123"}
    assert wizard.finished == ["/api/complete"]


def test_a_new_address_is_proven_and_the_rest_goes_there(
    wizard: FakeWizard, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wizard.try_address("127.0.0.2")
    assert apply(wizard, answers, "--no-wait") == 0
    proven = wizard.requests.index("POST /api/network/confirm")
    assert wizard.requests[proven - 2] == "GET /wizard/storage", "where the network page led"
    assert set(wizard.hosts[:proven]) == {"127.0.0.1"}
    assert set(wizard.hosts[proven:]) == {"127.0.0.2"}
    assert wizard.finished == []
    assert "--url https://127.0.0.2:" in capsys.readouterr().out


def test_a_new_address_that_does_not_answer_stops_before_the_rest(
    wizard: FakeWizard, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wizard.try_address("127.0.0.3", works=False)
    wizard.trial_left = 0
    assert apply(wizard, answers) == 1
    assert "the new address 127.0.0.3 was tried and does not answer from here" in capsys.readouterr().err
    assert not wizard.started
    assert wizard.posted[-1][0] == "/wizard/network"


def test_the_signature_is_the_key_s(wizard: FakeWizard, answers: Path, tmp_path: Path) -> None:
    assert apply(wizard, answers) == 0
    form = dict(wizard.posted)["/wizard/wallet"]
    signature = tmp_path / "sig"
    signature.write_text(form["admin_signature"] + "\n")
    said = command.run(
        ["ssh-keygen", "-Y", "check-novalidate", "-n", "blockhost", "-s", signature],
        stdin=form["public_secret"],
    )
    assert form["admin_wallet"] in said


def test_another_certificate_gets_not_one_byte(
    wizard: FakeWizard, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert apply(wizard, answers, pin=1) == 1
    assert wizard.bytes_after_handshake == 0
    assert wizard.requests == []
    assert wizard.certificates[0].fingerprint in capsys.readouterr().err


def test_a_wrong_code_is_told_in_the_page_s_words(
    wizard: FakeWizard, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert apply(wizard, answers, otp="WRONGONE") == 1
    assert "login: That is not the code." in capsys.readouterr().err
    assert [path for path, _form in wizard.posted] == ["/login"]


def test_a_dropped_login_is_not_sent_again(wizard: FakeWizard, answers: Path) -> None:
    """The server counts guesses: one that may have arrived is not repeated."""
    wizard.drops["POST /login"] = 1
    assert apply(wizard, answers) == 1
    assert wizard.requests.count("POST /login") == 1


def test_dropped_pages_are_sent_again(wizard: FakeWizard, answers: Path) -> None:
    wizard.drops = {"POST /wizard/network": 2, "GET /wizard/summary": 1, "GET /api/finalize/status": 2}
    assert apply(wizard, answers) == 0
    assert wizard.requests.count("POST /wizard/network") == 3


def test_a_refused_page_names_section_and_field(
    wizard: FakeWizard, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wizard.refusals["storage"] = (
        '<div role="alert"><p>Please correct 1 answer.</p></div>'
        '<p class="field-error" id="disk-error">no disk \x1b[31msdz &amp; none</p>'
    )
    assert apply(wizard, answers) == 1
    error = capsys.readouterr().err
    assert "storage.disk: no disk �[31msdz & none" in error
    assert "Please correct" not in error
    assert [path for path, _form in wizard.posted][-1] == "/wizard/storage"


def test_faults_in_the_file_reach_no_machine(wizard: FakeWizard, answers: Path) -> None:
    answers.write_text(answers.read_text().replace("/dev/vda", "/dev/vda1"))
    assert apply(wizard, answers) == 1
    assert wizard.requests == []


def test_a_failed_step_is_shown_with_its_hint(
    wizard: FakeWizard, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {"status": "failed", "error": "no pool", "hint": "make room", "label": "Storage"}
    wizard.statuses = [run_status("failed", storage=failed)]
    assert apply(wizard, answers) == 1
    out, error = capsys.readouterr()
    assert "Storage: no pool" in error
    assert "make room" in out
    assert "blockhost-setup retry --url" in error
    assert wizard.finished == []


def test_an_interrupted_client_goes_on_without_a_code(wizard: FakeWizard, answers: Path) -> None:
    assert apply(wizard, answers, "--no-wait") == 0
    assert wizard.posted[-1][0] == "/wizard/summary"
    before = len(wizard.posted)
    assert apply(wizard, answers, otp="") == 0
    assert len(wizard.posted) == before, "it only looked"


def test_the_saved_login_is_for_its_owner_only(wizard: FakeWizard, answers: Path, tmp_path: Path) -> None:
    assert apply(wizard, answers, "--no-wait") == 0
    (saved,) = (tmp_path / "state").rglob("*.json")
    assert saved.stat().st_mode & 0o777 == 0o600
    assert "ABCDEFGH" not in saved.read_text()
    assert apply(wizard, answers, otp="") == 0
    assert not saved.exists(), "the wizard is closed, its session is of no more use"


def test_a_new_certificate_is_accepted_once_announced(wizard: FakeWizard, answers: Path) -> None:
    told = {"status": "completed", "data": {"fingerprint": wizard.certificates[1].fingerprint}}
    wizard.statuses = [
        run_status("running"),
        run_status("running", https=told),
        run_status("completed", https=told),
    ]
    wizard.on_status = lambda count: wizard.serve_certificate(1) if count == 2 else None
    assert apply(wizard, answers) == 0
    assert wizard.finished == ["/api/complete"]


def test_a_new_certificate_out_of_nowhere_is_refused(
    wizard: FakeWizard, answers: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wizard.statuses = [run_status("running")]
    wizard.on_status = lambda count: wizard.serve_certificate(1) if count == 2 else None
    assert apply(wizard, answers) == 1
    assert wizard.certificates[1].fingerprint in capsys.readouterr().err


def test_a_time_limit_leaves_the_run_going(wizard: FakeWizard, answers: Path) -> None:
    wizard.statuses = [run_status("running")]
    assert apply(wizard, answers, "--timeout", "0") == 3
    assert wizard.finished == []


def test_ctrl_c_leaves_the_run_going(
    wizard: FakeWizard, answers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "follow", interrupted)
    assert apply(wizard, answers) == 130
    assert "blockhost-setup status --url" in capsys.readouterr().err


def test_the_code_may_come_by_stdin(
    wizard: FakeWizard, answers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("ABCDEFGH\n"))
    assert apply(wizard, answers, "--no-wait", otp="-") == 0


def test_no_code_and_no_terminal_is_an_error(
    wizard: FakeWizard, answers: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert apply(wizard, answers, otp="") == 1
    assert "--otp-file" in capsys.readouterr().err


# --- the parts ------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "AA:BB", "g" * 64, "A" * 63, "A" * 65, "SHA1:" + "A" * 64])
def test_bad_fingerprints_are_refused(text: str) -> None:
    with pytest.raises(BlockhostError, match="64 hexadecimal"):
        parse_fingerprint(text)


@given(
    st.binary(min_size=32, max_size=32),
    st.sampled_from(["", "SHA256:", "sha-256 ", "SHA256="]),
    st.booleans(),
)
def test_any_spelling_of_a_fingerprint(digest: bytes, prefix: str, lower: bool) -> None:
    text = prefix + colons(digest)
    assert parse_fingerprint(text.lower() if lower else text) == digest
    assert parse_fingerprint(digest.hex()) == digest


def test_pins_take_no_nonsense() -> None:
    pins = Pins("00" * 32)
    pins.announce("nonsense")
    with pytest.raises(CertificateMismatch):
        pins.check(b"anything")


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://192.168.1.10", ("192.168.1.10", 443)),
        ("https://host.local:8443/", ("host.local", 8443)),
        ("https://[2001:db8::1]:8443", ("2001:db8::1", 8443)),
        ("192.168.1.10", ("192.168.1.10", 443)),
    ],
)
def test_urls(url: str, place: tuple[str, int]) -> None:
    assert parse_url(url) == place


@pytest.mark.parametrize(
    "url",
    [
        "http://x",
        "https://",
        "https://x:99999",
        "https://u:p@x",
        "https://x/admin",
        "https://x?q",
        "file:///x",
    ],
)
def test_bad_urls_are_refused(url: str) -> None:
    with pytest.raises(BlockhostError, match="expected a URL"):
        parse_url(url)


@pytest.mark.parametrize(
    "location",
    ["https://elsewhere.example/", "http://127.0.0.1/", "//evil.example/x", "", "https://127.0.0.1:1/"],
)
def test_redirects_to_other_places_are_not_followed(wizard: FakeWizard, location: str) -> None:
    wizard._decide = lambda *_: (303, "", {"Location": location})  # type: ignore[method-assign]
    browser = Browser(wizard.url, Pins(wizard.certificates[0].fingerprint))
    with pytest.raises(BadAnswer, match="another place"):
        browser.get("/")


def test_redirects_in_circles_end(wizard: FakeWizard) -> None:
    wizard._decide = lambda *_: (303, "", {"Location": "/again"})  # type: ignore[method-assign]
    browser = Browser(wizard.url, Pins(wizard.certificates[0].fingerprint))
    with pytest.raises(BadAnswer, match="circles"):
        browser.get("/")


def test_nobody_there_is_told_after_patience() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(Unreachable, match="does not answer"):
        Browser(f"https://127.0.0.1:{port}", Pins("00" * 32), patience=0.3).get("/")


def test_an_answer_without_end_is_cut(wizard: FakeWizard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_BODY", 1000)
    wizard._decide = lambda *_: (200, "x" * 2000, {})  # type: ignore[method-assign]
    with pytest.raises(BadAnswer, match="too long"):
        Browser(wizard.url, Pins(wizard.certificates[0].fingerprint)).get("/")


def test_events_are_read_as_browsers_read_them() -> None:
    class Stream:
        text = b'retry: 2000\n\n: waiting\n\nid: 7\nevent: step\ndata: {"step":\ndata: "https"}\n\ndata:\n\n'
        lines = iter(text.splitlines(keepends=True))

        def readline(self, _limit: int) -> bytes:
            return next(self.lines, b"")

    events = list(client._parse_events(Stream()))  # type: ignore[arg-type]
    assert events == [None, None, {"step": "https", "type": "step", "id": 7}, None]


PLAN = [Complaint("a", "a bc"), Complaint("plan_cpu", "too many")]


def test_pages_are_read_for_their_complaints() -> None:
    page = read_page(
        """<title>Wallet</title><form><div class="alert" role="alert">Please correct 2 answers.</div>
        <input name="a" aria-invalid="true"><p id="a-error" class="field-error">a <b>b</b><br>c</p>
        <p class="alert alert-error mt-1" id="plan_cpu-hint">too many</p><p id="x-hint">harmless</p>
        <span data-error="z">last</span><input type="hidden" name="plan" value="h">"""
    )
    assert page.complaints == [
        Complaint("a", "a bc"),
        Complaint("plan_cpu", "too many"),
        Complaint("z", "last"),
    ]
    assert page.inputs == {"a": "", "plan": "h"}
    assert read_page('<div role="alert">Whole <p>page</p></div>').complaints == [Complaint("", "Whole page")]


@given(st.text(max_size=200))
def test_any_page_is_read(html: str) -> None:
    read_page(html)


class Away:
    """A setup whose machine reboots in the middle."""

    def __init__(self, answers: list[dict[str, Any] | Exception]) -> None:
        self._answers = answers

    def status(self) -> dict[str, Any]:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def events(self, after: int, *, idle_s: float = 0) -> Iterator[dict[str, Any] | None]:
        return iter(())


def test_a_reboot_in_the_middle_is_waited_for() -> None:
    away = Away(
        [run_status("running"), Unreachable("gone"), run_status("interrupted"), run_status("completed")]
    )
    final = watch.follow(away, Terminal(quiet=True), pause=lambda _s: None)  # type: ignore[arg-type]
    assert final["status"] == "completed"


def test_a_run_that_stays_interrupted_is_told() -> None:
    now = iter(range(0, 100000, 20))
    away = Away([run_status("interrupted") for _ in range(50)])
    final = watch.follow(  # type: ignore[arg-type]
        away, Terminal(quiet=True), clock=lambda: float(next(now)), pause=lambda _s: None
    )
    assert final["status"] == "interrupted"


def test_a_machine_that_stays_away_is_an_error() -> None:
    now = iter(range(0, 100000, 100))
    away = Away([Unreachable("gone") for _ in range(50)])
    with pytest.raises(Unreachable):
        watch.follow(  # type: ignore[arg-type]
            away, Terminal(quiet=True), clock=lambda: float(next(now)), pause=lambda _s: None
        )


def test_a_key_is_never_overwritten(tmp_path: Path) -> None:
    key = tmp_path / "k"
    signing.generate(key)
    assert key.stat().st_mode & 0o777 == 0o600
    address, signature = signing.sign(key, "text")
    assert isinstance(signature, Secret)
    with pytest.raises(BlockhostError, match="exists already"):
        signing.generate(key)
    assert signing.sign(key, "text")[1] == signature, "deterministic: it opens the backup again"
    assert signing.wallet_of(key) == address


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BlockhostError) as caught:
        signing.sign(tmp_path / "none", "text")
    assert "--generate-key" in caught.value.hint
