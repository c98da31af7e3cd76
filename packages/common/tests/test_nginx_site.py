"""The site switch against a real nginx on high ports, and the renderer against hostile values."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blockhost import command, nginx_site
from blockhost.errors import BlockhostError, ConfigError
from blockhost.nginx_config import Expression, directive, render
from blockhost.nginx_site import FinalSite, SetupSite, activate, current_site, is_live

FAKES = Path(__file__).resolve().parents[3] / "testing/fakes/bin"


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for item in sockets:
        item.bind(("127.0.0.1", 0))
    ports = [item.getsockname()[1] for item in sockets]
    for item in sockets:
        item.close()
    return ports


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A dry-run root with its own nginx, which does not outlive the test."""
    https, plain, admin = _free_ports(3)
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    monkeypatch.setenv("BLOCKHOST_DRY_RUN", "1")
    monkeypatch.setenv("BLOCKHOST_PATH", f"{FAKES}:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setenv("BLOCKHOST_HTTPS_PORT", str(https))
    monkeypatch.setenv("BLOCKHOST_HTTP_PORT", str(plain))
    monkeypatch.setenv("BLOCKHOST_ADMIN_PORT", str(admin))
    web = tmp_path / "var/www/blockhost"
    web.mkdir(parents=True)
    (web / "signup.html").write_text("<title>signup</title>")
    yield tmp_path
    command.run(["systemctl", "stop", "nginx.service"])


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    cert, key = folder / f"{name}.crt", folder / f"{name}.key"
    command.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", key, "-out", cert, "-subj", f"/CN={name}", "-days", "2"]
    )  # fmt: skip
    return cert, key


@pytest.fixture
def final(machine: Path) -> FinalSite:
    cert, key = _certificate(machine, "one")
    return FinalSite(cert, key, ("box.example", "192.0.2.7"), "/ops", wizard=True)


def _get(path: str, *, port: int | None = None, **headers: str) -> tuple[int, str, dict[str, str]]:
    port = port or nginx_site.Ports.here().https
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", path, headers=headers)
        reply = connection.getresponse()
        return reply.status, reply.read().decode(), dict(reply.getheaders())
    finally:
        connection.close()


def _plain(path: str) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", nginx_site.Ports.here().http, timeout=5)
    try:
        connection.request("GET", path, headers={"Host": "box.example"})
        reply = connection.getresponse()
        return reply.status, reply.getheader("Location") or reply.read().decode()
    finally:
        connection.close()


def _whole_request(connection: socket.socket) -> bytes:
    """Head and body. To close with a part unread would reset the connection before the answer is read."""
    request = b""
    while b"\r\n\r\n" not in request and (part := connection.recv(65536)):
        request += part
    head, _, body = request.partition(b"\r\n\r\n")
    lengths = [
        line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
    ]
    missing = (int(lengths[0]) if lengths else 0) - len(body)
    while missing > 0 and (part := connection.recv(65536)):
        request += part
        missing -= len(part)
    return request


class _Echo(threading.Thread):
    """An HTTP server that answers each request with its request line and headers."""

    def __init__(self, server: socket.socket) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.server.listen(16)
        self.start()

    def run(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                request = _whole_request(connection)
                head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(request)}\r\nConnection: close\r\n\r\n"
                connection.sendall(head.encode() + request)

    def close(self) -> None:
        self.server.shutdown(socket.SHUT_RDWR)
        self.server.close()
        self.join()


@pytest.fixture
def wizard(machine: Path) -> Iterator[None]:
    file = machine / "run/blockhost-wizard/wizard.sock"
    file.parent.mkdir(parents=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(file))
    echo = _Echo(server)
    yield
    echo.close()


@pytest.fixture
def panel(machine: Path) -> Iterator[None]:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind(("127.0.0.1", nginx_site.Ports.here().admin))
    echo = _Echo(server)
    yield
    echo.close()


def test_the_final_site_serves_signup_and_panel(final: FinalSite, wizard: None, panel: None) -> None:
    activate(final)
    status, body, headers = _get("/")
    assert (status, body) == (200, "<title>signup</title>")
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    status, body, _ = _get(
        "/ops/network?a=1", **{"X-Forwarded-Prefix": "/evil", "X-Forwarded-For": "1.2.3.4"}
    )
    assert body.startswith("GET /network?a=1 HTTP/1.1\r\n")
    assert "X-Forwarded-Prefix: /ops\r\n" in body
    assert "X-Forwarded-For: 127.0.0.1\r\n" in body
    assert "/evil" not in body
    status, _, headers = _get("/ops")
    assert (status, headers["Location"].endswith("/ops/")) == (308, True)


def test_wizard_routes_vanish_with_the_wizard(final: FinalSite, wizard: None) -> None:
    activate(final)
    assert _get("/api/finalize/status")[1].startswith("GET /api/finalize/status HTTP/1.1")
    nginx_site.without_wizard()
    assert current_site() == FinalSite(
        final.cert_file, final.key_file, final.host_names, "/ops", wizard=False
    )
    assert _get("/api/finalize/status")[0] == 404
    assert _get("/login")[0] == 404


def test_the_setup_site_sends_everything_to_the_wizard(final: FinalSite, wizard: None) -> None:
    activate(SetupSite(final.cert_file, final.key_file, final.host_names))
    for path in ("/", "/wizard/network", "/anything"):
        assert _get(path)[1].startswith(f"GET {path} HTTP/1.1\r\n")


def test_port_80_redirects_and_answers_acme_only(final: FinalSite, machine: Path) -> None:
    activate(final)
    port = nginx_site.Ports.here().https
    assert _plain("/signup.html?x=1") == (308, f"https://box.example:{port}/signup.html?x=1")
    challenge = nginx_site.acme_webroot() / ".well-known/acme-challenge/token"
    challenge.parent.mkdir(parents=True)
    challenge.write_text("proof")
    assert _plain("/.well-known/acme-challenge/token") == (200, "proof")
    assert _plain("/.well-known/acme-challenge/other")[0] == 404


def test_tls_before_1_2_is_refused(final: FinalSite) -> None:
    activate(final)
    found = command.probe(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{nginx_site.Ports.here().https}", "-tls1_1",
         "-cipher", "ALL:@SECLEVEL=0"], stdin=b"",
    )  # fmt: skip
    assert found.code != 0


@pytest.mark.parametrize("path", ["/login", "/ops/"])
def test_service_that_does_not_answer_yet_is_a_page_that_looks_again(
    machine: Path, final: FinalSite, path: str
) -> None:
    shipped = Path(__file__).resolve().parents[1] / "web/starting.html"
    served = machine / "usr/share/blockhost/web/starting.html"
    served.parent.mkdir(parents=True)
    served.write_bytes(shipped.read_bytes())
    activate(final)
    status, page, headers = _get(path)
    assert (status, headers["Retry-After"]) == (503, "3")
    assert page == shipped.read_text()
    assert 'http-equiv="refresh"' in page
    assert _get("/starting.html")[0] == 404, "it is nobody's address"


def test_bodies_over_64k_are_refused_and_restore_takes_more(final: FinalSite, wizard: None) -> None:
    activate(final)

    def post(path: str, size: int) -> int:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", nginx_site.Ports.here().https, context=context)
        connection.request("POST", path, body=b"x" * size)
        status = connection.getresponse().status
        connection.close()
        return status

    assert post("/api/finalize", 70_000) == 413
    assert post("/api/finalize", 1_000) == 200
    assert post("/api/restore-config", 60_000) == 200
    assert post("/api/restore-config", 1_100_000) == 413


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("host_names", ("box.example; return 200 owned",)),
        ("host_names", ("box.example }",)),
        ("host_names", ("$host",)),
        ("host_names", ("a\nserver {",)),
        ("host_names", ("",)),
        ("path_prefix", "/ops { return 200; }"),
        ("path_prefix", "/ops;"),
        ("path_prefix", "/ops\n"),
        ("path_prefix", "/../etc"),
        ("path_prefix", "/Ops"),
        ("path_prefix", "ops"),
        ("path_prefix", "/"),
        ("path_prefix", "/api"),
        ("path_prefix", "/static/x"),
        ("path_prefix", '/o"ps'),
        ("cert_file", Path("/nonexistent.crt")),
        ("cert_file", Path("relative.crt")),
        ("key_file", Path("/etc")),
    ],
)
def test_hostile_or_wrong_values_are_refused_by_name(final: FinalSite, field: str, value: object) -> None:
    with pytest.raises(ConfigError) as refusal:
        activate(replace(final, **{field: value}))
    assert field in str(refusal.value)
    assert current_site() is None


@pytest.mark.parametrize("value", ['a"b', "a\nb", "a;$b", "back\\slash", "nul\x00", "$request_uri"])
def test_the_renderer_never_lets_a_value_become_syntax(value: str) -> None:
    with pytest.raises(BlockhostError):
        render([directive("root", value)])


@pytest.mark.parametrize("value", ["a b", "semi;colon", "brace{", "#comment", "quote'"])
def test_the_renderer_quotes_what_is_harmless_inside_quotes(value: str) -> None:
    assert render([directive("return", 200, value)]) == f'return 200 "{value}";\n'


@pytest.mark.parametrize("value", ["$a; $b", "$a}", '$a"', "$a\n"])
def test_an_expression_holds_no_syntax_either(value: str) -> None:
    with pytest.raises(BlockhostError):
        render([directive("return", Expression(value))])


def test_a_bad_certificate_never_becomes_live(final: FinalSite, machine: Path) -> None:
    activate(final)
    before = _get(nginx_site.MARKER)[1]
    (machine / "bad.crt").write_text("not a certificate")
    with pytest.raises(ConfigError):
        activate(FinalSite(machine / "bad.crt", final.key_file))
    assert _get(nginx_site.MARKER)[1] == before
    assert current_site() == final


def test_a_key_of_another_certificate_never_becomes_live(final: FinalSite, machine: Path) -> None:
    activate(final)
    _, other_key = _certificate(machine, "two")
    with pytest.raises(ConfigError):
        activate(FinalSite(final.cert_file, other_key))
    assert current_site() == final


def test_a_missing_include_of_another_site_is_named(final: FinalSite, machine: Path) -> None:
    activate(final)
    (machine / "etc/nginx/sites-enabled/other.conf").write_text("include /nonexistent/file.conf;\n")
    with pytest.raises(ConfigError, match=r"/nonexistent/file\.conf"):
        activate(FinalSite(final.cert_file, final.key_file, ("new.example",)))
    assert current_site() == final


def test_a_site_that_does_not_answer_is_rolled_back(
    final: FinalSite, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activate(final)
    before = _get(nginx_site.MARKER)[1]
    monkeypatch.setattr(nginx_site, "RELOAD_DEADLINE_S", 0.3)
    proof = nginx_site._prove

    def broken(site: nginx_site.Site, generation: Path, *, deadline_s: float = 0.3) -> None:
        if site != final:
            raise BlockhostError("it does not answer")
        proof(site, generation, deadline_s=deadline_s)

    monkeypatch.setattr(nginx_site, "_prove", broken)
    with pytest.raises(ConfigError, match="does not answer"):
        activate(FinalSite(final.cert_file, final.key_file, ("new.example",)))
    assert current_site() == final
    deadline = time.monotonic() + 20  # the server takes its configuration back in its own time
    while _get(nginx_site.MARKER)[1] != before:
        assert time.monotonic() < deadline, "the new site is still served"


def test_a_first_site_that_fails_leaves_none(final: FinalSite, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BlockhostError("it does not answer")

    monkeypatch.setattr(nginx_site, "_prove", broken)
    with pytest.raises(ConfigError):
        activate(final)
    assert current_site() is None
    command.run(["nginx", "-t", "-q", "-c", nginx_site.main_file(), "-e", "stderr"])


@pytest.mark.parametrize("moment", ["_test", "_make_current", "_reload", "_prove", "_forget_all_but"])
def test_a_kill_before_each_stage_leaves_a_site_and_the_next_try_ends(
    final: FinalSite, machine: Path, moment: str
) -> None:
    activate(final)
    wanted = FinalSite(final.cert_file, final.key_file, ("new.example",), "/ops", wizard=False)
    child = os.fork()
    if child == 0:
        setattr(nginx_site, moment, lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
        activate(wanted)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL
    assert _get("/")[0] == 200
    assert is_live(wanted) == (moment == "_forget_all_but")
    activate(wanted)
    assert is_live(wanted)
    assert current_site() == wanted
    assert len(nginx_site._generations()) <= 2


def test_an_unproven_site_left_by_a_kill_is_not_what_one_goes_back_to(
    final: FinalSite, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activate(final)
    proven = nginx_site._current()
    wanted = FinalSite(final.cert_file, final.key_file, ("new.example",))
    nginx_site._make_current(nginx_site._candidate(wanted))  # killed before the reload
    assert nginx_site._last_proven() == proven


def test_the_same_site_again_makes_no_new_generation(final: FinalSite) -> None:
    activate(final)
    before = nginx_site._current()
    activate(final)
    assert nginx_site._current() == before


def test_a_renewed_certificate_is_served_after_activation(final: FinalSite, machine: Path) -> None:
    activate(final)
    new_cert, new_key = _certificate(machine, "renewed")
    final.cert_file.write_bytes(new_cert.read_bytes())
    final.key_file.write_bytes(new_key.read_bytes())
    assert not is_live(final)
    activate(final)
    assert is_live(final)


def test_no_request_fails_during_twenty_reloads(final: FinalSite) -> None:
    activate(final)
    stop = threading.Event()
    statuses: list[object] = []

    def ask() -> None:
        while not stop.is_set():
            try:
                statuses.append(_get("/")[0])
            except OSError as error:
                statuses.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for round_ in range(20):
        activate(FinalSite(final.cert_file, final.key_file, (f"box{round_}.example",)))
    stop.set()
    for thread in threads:
        thread.join()
    assert len(statuses) > 100
    assert set(statuses) == {200}
    assert len(nginx_site._generations()) == 2


def test_a_real_request_answers_while_200_clients_dawdle(final: FinalSite) -> None:
    activate(final)
    port = nginx_site.Ports.here().https
    dawdlers = [socket.create_connection(("127.0.0.1", port)) for _ in range(200)]
    try:
        started = time.monotonic()
        assert _get("/")[0] == 200
        assert time.monotonic() - started < 1
    finally:
        for dawdler in dawdlers:
            dawdler.close()


def test_the_marker_is_for_loopback_only(final: FinalSite) -> None:
    text = nginx_site.render_site(final, "generation-000001")
    block = text[text.index(nginx_site.MARKER) :]
    assert block.index("allow 127.0.0.1") < block.index("deny all") < block.index("return 200")


def test_debians_main_file_is_what_gets_tested(
    final: FinalSite, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    activate(final)
    main = machine / "etc/nginx/nginx.conf"
    text = main.read_text()
    monkeypatch.setattr(nginx_site, "_write_dry_run_main", lambda: None)
    main.write_text(text.replace("worker_processes 2;", "worker_processes 2;\nnonsense on;"))
    with pytest.raises(ConfigError, match="nonsense"):
        activate(FinalSite(final.cert_file, final.key_file, ("new.example",)))
    main.write_text(text)
