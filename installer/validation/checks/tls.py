"""Checks of what a visitor meets: the certificate over the wire, the page, the redirect."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from blockhost import nginx_site
from blockhost.checks import Check, CheckContext, Finding, Severity
from blockhost.config_files import HTTPS, read_config
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_

#: A renewal that fails must be seen while there is time to act.
SHORTEST_VALIDITY = timedelta(days=14)


def checks() -> Iterator[Check]:
    yield Check(
        "TLS-SERVED-01",
        _("nginx serves the certificate of https.json"),
        _served,
        fix=N_("nginx -t, then systemctl reload nginx"),
    )
    yield Check(
        "TLS-VALID-02",
        _("the certificate is valid for two more weeks"),
        _valid,
        fix=N_("Renew it: certbot renew, or the setup step https for a local one"),
    )
    yield Check(
        "TLS-PUBLIC-03",
        _("the certificate is from where it was asked for"),
        _no_fallback,
        Severity.WARNING,
        fix=N_("Does the name point here, and does TCP port 80 reach this host from outside?"),
    )
    yield Check("WEB-SIGNUP-04", _("the signup page is served"), _signup, fix=N_("journalctl -u nginx"))
    yield Check("WEB-REDIRECT-05", _("port 80 redirects to TLS"), _redirect, fix=N_("journalctl -u nginx"))


def _served(context: CheckContext) -> Finding:
    expected = x509.load_pem_x509_certificate(Path(read_config(HTTPS)["cert_file"]).read_bytes())
    connection = _connect()
    try:
        connection.connect()
        found = x509.load_der_x509_certificate(connection.sock.getpeercert(binary_form=True) or b"")
    finally:
        connection.close()
    return Finding(ok=found == expected, evidence=found.subject.rfc4514_string())


def _valid(context: CheckContext) -> Finding:
    certificate = x509.load_pem_x509_certificate(Path(read_config(HTTPS)["cert_file"]).read_bytes())
    # Debian 12's library only has the naive spelling, Debian 13's warns of it; both mean UTC.
    end = getattr(certificate, "not_valid_after_utc", None) or certificate.not_valid_after.replace(tzinfo=UTC)
    return Finding(
        ok=end - datetime.now(UTC) >= SHORTEST_VALIDITY,
        evidence=_("until %(day)s") % {"day": f"{end:%Y-%m-%d}"},
    )


def _no_fallback(context: CheckContext) -> Finding:
    document = read_config(HTTPS)
    reason = document.get("fallback_reason", "")
    return Finding(ok=not reason, evidence=reason or document["tls_mode"])


def _signup(context: CheckContext) -> Finding:
    connection = _connect()
    try:
        connection.request("GET", "/")
        reply = connection.getresponse()
        body = reply.read(65536).lower()
    finally:
        connection.close()
    return Finding(ok=reply.status == 200 and b"<html" in body, evidence=f"HTTP {reply.status}")


def _redirect(context: CheckContext) -> Finding:
    connection = http.client.HTTPConnection("127.0.0.1", nginx_site.Ports.here().http, timeout=5)
    try:
        connection.request("GET", "/")
        reply = connection.getresponse()
        target = reply.getheader("Location") or ""
    finally:
        connection.close()
    return Finding(ok=reply.status in (301, 308) and target.startswith("https://"), evidence=target)


def _connect() -> http.client.HTTPSConnection:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the local authority is not in the system's store
    return http.client.HTTPSConnection("127.0.0.1", nginx_site.Ports.here().https, timeout=5, context=context)
