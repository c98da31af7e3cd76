"""certbot against a real authority (pebble) with a DNS of its own (pebble-challtestsrv).

Everything listens on free ports of the loopback; nothing is asked of the network.
"""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from installer.tls import acme, certificate, local_ca
from installer.tls.acme import AcmeRefused, Authority, Reason

pytestmark = pytest.mark.timeout(180)
NAME = "host.example.org"


def free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Pebble:
    """The authority with its DNS; `stop` and `start` make it forget every account."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.port, self.management, self.http, self.dns, self.dns_management = free_ports(5)
        self._processes: list[subprocess.Popen[bytes]] = []
        self.root = local_ca.ensure_certificate(["127.0.0.1"])
        config = {
            "listenAddress": f"127.0.0.1:{self.port}",
            "managementListenAddress": f"127.0.0.1:{self.management}",
            "certificate": str(self.root.cert_file),
            "privateKey": str(self.root.key_file),
            "httpPort": self.http,
            "tlsPort": 1,
        }
        (place / "pebble.json").write_text(json.dumps({"pebble": config}))

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    def start(self, *, nonce_rejections: str = "0") -> None:
        dns = ["-dns01", f"127.0.0.1:{self.dns}", "-management", f"127.0.0.1:{self.dns_management}"]
        self._run(
            ["pebble-challtestsrv", *dns, "-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]
        )
        settings = ["-config", str(self.place / "pebble.json"), "-dnsserver", f"127.0.0.1:{self.dns}"]
        self._run(["pebble", *settings], PEBBLE_VA_NOSLEEP="1", PEBBLE_WFE_NONCEREJECT=nonce_rejections)
        for port in (self.port, self.dns_management):
            wait_for_port(port)

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
            process.wait()
        self._processes.clear()

    def _run(self, argv: list[str], **environment: str) -> None:
        with (self.place / "pebble.log").open("ab") as log:
            self._processes.append(
                subprocess.Popen(argv, stdout=log, stderr=log, env={"PATH": "/usr/bin:/bin", **environment})
            )

    def tell_dns(self, what: str, **fields: object) -> None:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.dns_management}/{what}", json.dumps(fields).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=10):
            pass

    def root_certificate(self) -> Path:
        """What pebble signs with, made anew at each of its starts."""
        trust = ssl.create_default_context(cafile=str(local_ca.ca_file()))
        with urllib.request.urlopen(f"https://127.0.0.1:{self.management}/roots/0", context=trust) as reply:
            file = self.place / "root.pem"
            file.write_bytes(reply.read())
        return file


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pebble, Authority]]:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path / "root"))
    (tmp_path / "root/etc/blockhost").mkdir(parents=True)
    for folder in ("var/lib", "var/log", "var/www"):
        (tmp_path / "root" / folder).mkdir(parents=True)
    pebble = Pebble(tmp_path)
    pebble.start()
    environment = {"REQUESTS_CA_BUNDLE": str(local_ca.ca_file())}
    try:
        yield pebble, Authority(pebble.url, acme.acme_webroot(), None, environment)
    finally:
        pebble.stop()


@pytest.fixture
def web(authority: tuple[Pebble, Authority]) -> Iterator[None]:
    """The host's port 80, as nginx answers challenges there."""
    webroot = acme.acme_webroot()
    webroot.mkdir(parents=True, exist_ok=True)
    handler = partial(QuietHandler, directory=str(webroot))
    with ThreadingHTTPServer(("127.0.0.1", authority[0].http), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """The test's output stays its own."""


def test_a_certificate_is_issued_and_kept(authority: tuple[Pebble, Authority], web: None) -> None:
    pebble, settings = authority
    made = acme.obtain(NAME, email="operator@example.org", authority=settings)
    assert certificate.names_of(certificate.load(made.cert_file)) == {NAME}
    assert made.key_file.resolve().stat().st_mode & 0o077 == 0
    verified = subprocess.run(
        [
            "openssl",
            "verify",
            "-CAfile",
            pebble.root_certificate(),
            "-untrusted",
            made.cert_file,
            made.cert_file,
        ],
        check=False,
        capture_output=True,
        text=True,
    )
    assert verified.returncode == 0, verified.stderr
    assert acme.obtain(NAME, authority=settings).fingerprint == made.fingerprint


def test_an_authority_that_rejects_nonces_is_asked_again(
    authority: tuple[Pebble, Authority], web: None
) -> None:
    pebble, settings = authority
    pebble.stop()
    pebble.start(nonce_rejections="5")  # percent, its own default
    assert acme.obtain(NAME, authority=settings).fingerprint


def test_a_forgotten_account_is_registered_anew(authority: tuple[Pebble, Authority], web: None) -> None:
    """pebble forgets everything at a restart; Debian 12's certbot says something else about it."""
    pebble, settings = authority
    acme.obtain(NAME, authority=settings)
    pebble.stop()
    pebble.start()
    assert acme.obtain(f"other.{NAME}", authority=settings).fingerprint


def test_port_80_closed(authority: tuple[Pebble, Authority]) -> None:
    _pebble, settings = authority
    assert refusal(settings) is Reason.PORT_80


def test_name_without_an_address(authority: tuple[Pebble, Authority], web: None) -> None:
    pebble, settings = authority
    pebble.tell_dns("set-default-ipv4", ip="")
    assert refusal(settings) is Reason.DNS


def test_dns_that_fails(authority: tuple[Pebble, Authority], web: None) -> None:
    pebble, settings = authority
    pebble.tell_dns("set-servfail", host=NAME)
    assert refusal(settings) is Reason.DNS


def test_authority_out_of_reach(authority: tuple[Pebble, Authority], web: None) -> None:
    pebble, settings = authority
    pebble.stop()
    begin = time.monotonic()
    assert refusal(settings) is Reason.UNREACHABLE
    assert time.monotonic() - begin < 60


def test_a_bare_address_is_said_to_need_a_name(authority: tuple[Pebble, Authority], web: None) -> None:
    _pebble, settings = authority
    assert refusal(settings, "192.0.2.7") is Reason.ADDRESS


def refusal(settings: Authority, name: str = NAME) -> Reason:
    with pytest.raises(AcmeRefused) as caught:
        acme.obtain(name, authority=settings)
    assert name in str(caught.value) or caught.value.reason is Reason.UNREACHABLE
    assert caught.value.hint
    return caught.value.reason


def wait_for_port(port: int, deadline_s: float = 15.0) -> None:
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline, f"nobody listens on {port}"
            time.sleep(0.05)
        else:
            return
