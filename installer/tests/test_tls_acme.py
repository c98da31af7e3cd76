"""What certbot says becomes a reason with something to try."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.tls import acme
from installer.tls.acme import AcmeRefused, Reason

SAYINGS = {
    Reason.DNS: "  Type:   dns\n  Detail: DNS problem: NXDOMAIN looking up A for box.example.org",
    Reason.PORT_80: "  Type:   connection\n  Detail: 192.0.2.7: Fetching http://box/.well-known: Timeout",
    Reason.CAA: "  Type:   caa\n  Detail: CAA record for box.example.org prevents issuance",
    Reason.RATE_LIMIT: "urn:ietf:params:acme:error:rateLimited :: too many certificates already issued",
    Reason.ADDRESS: "Requested name 192.0.2.7 is an IP address. The authority will not issue for it.",
    Reason.UNREACHABLE: "requests.exceptions.ConnectionError: HTTPSConnectionPool: Max retries exceeded",
    Reason.OTHER: "An unexpected error occurred: the moon is in the way",
}


@pytest.fixture
def certbot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in on PATH that keeps its arguments and says what a test put in `says`."""
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "certbot"
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/argv\ncat {tmp_path}/says >&2\nexit 1\n')
    program.chmod(0o755)
    monkeypatch.setenv("BLOCKHOST_PATH", f"{programs}:/usr/bin:/bin")
    return tmp_path


#: Certbot's second words for the same, as Debian's versions say them.
MORE = [
    (Reason.UNREACHABLE, "ValueError: Requesting acme.example.org/dir: Connection refused"),
    (Reason.DNS, '  Type:   connection\n  Detail: Get "http://x/": could not resolve URL "http://x/"'),
]


@pytest.mark.parametrize(("reason", "saying"), [*SAYINGS.items(), *MORE])
def test_reason_is_recognised(certbot: Path, reason: Reason, saying: str) -> None:
    (certbot / "says").write_text(saying)
    with pytest.raises(AcmeRefused) as caught:
        acme.obtain("box.example.org")
    assert caught.value.reason is reason
    assert caught.value.hint


def test_a_forgotten_account_is_registered_again(certbot: Path) -> None:
    """Debian 12's certbot hides the error behind an AttributeError."""
    (certbot / "says").write_text("AttributeError: can't set attribute\n")
    (certbot / "etc/letsencrypt/accounts/pebble").mkdir(parents=True)
    with pytest.raises(AcmeRefused) as caught:
        acme.obtain("box.example.org")
    assert caught.value.reason is Reason.ACCOUNT_UNKNOWN
    assert len((certbot / "argv").read_text().splitlines()) == 3
    assert (certbot / "etc/letsencrypt/accounts.unknown-1/pebble").is_dir()


def test_certbot_gets_the_name_and_the_webroot(certbot: Path) -> None:
    (certbot / "says").write_text("no")
    with pytest.raises(AcmeRefused):
        acme.obtain("box.example.org", email="op@example.org")
    argv = (certbot / "argv").read_text()
    assert "-d box.example.org" in argv
    assert "--email op@example.org" in argv
    assert f"--webroot-path {certbot}/var/www/blockhost-acme" in argv


def test_without_certbot_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    monkeypatch.setenv("BLOCKHOST_PATH", str(tmp_path))
    with pytest.raises(AcmeRefused) as caught:
        acme.obtain("box.example.org")
    assert caught.value.reason is Reason.NOT_INSTALLED
