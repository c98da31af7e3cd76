"""The local authority: what it issues, when it issues anew, and how its keys lie on disk."""

from __future__ import annotations

import os
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socket import create_connection, create_server

import pytest
from cryptography import x509

from blockhost.errors import StepFailed
from installer.tls import certificate, local_ca
from installer.tls.names import own_names

NAMES = ["192.0.2.7", "box", "box.local", "fd00::7"]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BLOCKHOST_ROOT", str(tmp_path))
    (tmp_path / "etc/blockhost").mkdir(parents=True)
    return tmp_path


def test_covers_names_and_addresses() -> None:
    made = local_ca.ensure_certificate(NAMES)
    assert certificate.names_of(certificate.load(made.cert_file)) == set(NAMES)
    assert made.fingerprint == certificate.fingerprint(made.cert_file)
    assert made.fingerprint.count(":") == 31


def test_fingerprint_stays_while_names_are_covered() -> None:
    first = local_ca.ensure_certificate(NAMES)
    assert local_ca.ensure_certificate(NAMES[:2]).fingerprint == first.fingerprint
    assert local_ca.is_current(NAMES[1:])


def test_a_new_name_changes_the_leaf_alone() -> None:
    first = local_ca.ensure_certificate(NAMES[:1])
    key, ca = first.key_file.read_bytes(), local_ca.ca_file().read_bytes()
    assert not local_ca.is_current(NAMES)
    second = local_ca.ensure_certificate(NAMES)
    assert second.fingerprint != first.fingerprint
    assert (second.key_file.read_bytes(), local_ca.ca_file().read_bytes()) == (key, ca)


def test_near_expiry_it_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_ca, "LEAF_DAYS", 31)  # minus the slack of two days: due at once
    first = local_ca.ensure_certificate(NAMES)
    assert not local_ca.is_current(NAMES)
    monkeypatch.setattr(local_ca, "LEAF_DAYS", 397)
    assert local_ca.ensure_certificate(NAMES).fingerprint != first.fingerprint
    assert local_ca.is_current(NAMES)


@pytest.mark.parametrize("broken", ["server.crt", "server.key", "ca.crt", "ca.key"])
@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN CERTIFICATE-----\nx\n"])
def test_a_damaged_or_missing_file_is_made_anew(broken: str, content: bytes | None) -> None:
    local_ca.ensure_certificate(NAMES)
    file = local_ca.tls_dir() / broken
    file.unlink() if content is None else file.write_bytes(content)
    assert not local_ca.is_current(NAMES) or broken == "ca.key"
    local_ca.ensure_certificate(NAMES)
    assert local_ca.is_current(NAMES)


def test_keys_are_private_from_creation_under_an_open_umask(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, int] = {}
    opened = os.open

    def watch(path: str, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if flags & os.O_CREAT:
            seen[str(path)] = mode
        return opened(path, flags, mode, dir_fd=dir_fd)

    monkeypatch.setattr(os, "open", watch)
    before = os.umask(0)
    try:
        local_ca.ensure_certificate(NAMES)
    finally:
        os.umask(before)
    keys = {name: mode for name, mode in seen.items() if ".key" in name}
    assert len(keys) == 2
    assert all(mode & 0o077 == 0 for mode in keys.values())
    for name, mode in {"ca.key": 0o600, "server.key": 0o600, "server.crt": 0o644, "ca.crt": 0o644}.items():
        assert stat.S_IMODE((local_ca.tls_dir() / name).stat().st_mode) == mode


def test_validity_is_what_browsers_accept() -> None:
    begins, ends = certificate.validity(certificate.load(local_ca.ensure_certificate(NAMES).cert_file))
    assert ends - begins <= timedelta(days=398)
    assert begins <= datetime.now(UTC) - timedelta(days=1)


def test_a_client_that_trusts_the_authority_connects(tmp_path: Path) -> None:
    made = local_ca.ensure_certificate(["127.0.0.1", "box.local"])
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(made.cert_file, made.key_file)
    with create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            with server_side.wrap_socket(plain, server_side=True) as secure:
                secure.recv(1)

        thread = threading.Thread(target=serve)
        thread.start()
        client = ssl.create_default_context(cafile=str(local_ca.ca_file()))
        with (
            create_connection(listener.getsockname()) as plain,
            client.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            der = secure.getpeercert(binary_form=True)
            secure.send(b"x")
        thread.join()
    assert der is not None
    assert x509.load_der_x509_certificate(der) == certificate.load(made.cert_file)


def test_no_name_at_all_is_refused() -> None:
    with pytest.raises(StepFailed, match="at least one name"):
        local_ca.ensure_certificate([""])


def test_own_names_begin_with_the_address(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    (root / "etc/hostname").write_text("Box.example.org\n")
    monkeypatch.setattr("installer.tls.names.own_addresses", lambda: ["192.0.2.7", "fd00::7", "fe80::1"])
    names = own_names()
    assert names[0] == "192.0.2.7"
    assert {"fd00::7", "box.example.org", "box.local"} <= set(names)
    assert "fe80::1" not in names
