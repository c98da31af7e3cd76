"""Step `https`: the host's public name and a certificate for it. The local authority works at
once; a public one replaces it where it can, and never holds up the setup."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Network, ip_address
from pathlib import Path
from typing import Any

from blockhost.config_files import BROKER_ALLOCATION, HTTPS, read_config, write_config
from blockhost.errors import BlockhostError, ConfigError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from installer.tls import acme, local_ca
from installer.tls.certificate import fingerprint
from installer.tls.names import own_names

#: Names that no public authority vouches for (RFC 6761, 6762, 8375 and common practice).
PRIVATE_SUFFIXES = (
    ".local",
    ".lan",
    ".internal",
    ".home.arpa",
    ".test",
    ".example",
    ".invalid",
    ".localhost",
)


def run(context: StepContext) -> None:
    hostname, use_dns_zone = choose_hostname(context)
    local = local_ca.ensure_certificate(certificate_names(hostname))
    certificate, mode, reason = local, "local-ca", ""
    if is_public(hostname):
        context.progress(0.3, _("asking a public authority for a certificate"))
        email = (context.answers.get("network") or {}).get("acme_email", "")
        try:
            certificate, mode = acme.obtain(hostname, email=email), "letsencrypt"
        except BlockhostError as error:
            reason = str(error)
            context.log(_("no public certificate: %s; the local authority's is used") % reason)
    document: dict[str, Any] = {
        "hostname": hostname,
        "use_dns_zone": use_dns_zone,
        "ipv6_address": _ipv6_address(),
        "cert_file": str(certificate.cert_file),
        "key_file": str(certificate.key_file),
        "tls_mode": mode,
    }
    if reason:
        document["fallback_reason"] = reason
    write_config(HTTPS, document)


def is_in_place(context: StepContext) -> bool:
    """https.json names this host, and the files that it names are there."""
    try:
        document = read_config(HTTPS)
        hostname, _zone = choose_hostname(context)
    except (FileNotFoundError, ConfigError):
        return False
    files = [document.get("cert_file"), document.get("key_file")]
    if document.get("hostname") != hostname or not all(file and Path(file).is_file() for file in files):
        return False
    if document.get("tls_mode") == "local-ca" and not local_ca.is_current(certificate_names(hostname)):
        return False
    context.config["https"] = document
    # Told while the old certificate is still served: a client that pinned that one will trust this.
    served = fingerprint(Path(document["cert_file"]))
    context.result({"hostname": hostname, "tls_mode": document.get("tls_mode"), "fingerprint": served})
    return True


def describe(context: StepContext) -> list[Change]:
    hostname, _zone = choose_hostname(context)
    changes = [Change("file", str(HTTPS.path), hostname)]
    if is_public(hostname):
        changes.append(
            Change(
                "host",
                "acme-v02.api.letsencrypt.org",
                _("a certificate for %(hostname)s") % {"hostname": hostname},
            )
        )
    return changes


def choose_hostname(context: StepContext) -> tuple[str, bool]:
    """The host's name, and whether it lies in the broker's DNS zone."""
    if BROKER_ALLOCATION.path.exists():
        allocation = read_config(BROKER_ALLOCATION)
        if zone := allocation.get("dns_zone"):
            offset = int(_first_address(allocation["prefix"])) & (2**64 - 1)
            return f"{offset:x}.{zone}", True
    if hostname := (context.answers.get("network") or {}).get("hostname"):
        return str(hostname), False
    return own_names()[0], False


def certificate_names(hostname: str) -> list[str]:
    """What the certificate must be good for: the chosen name first, then all ways to reach us."""
    return [hostname, *(name for name in own_names() if name != hostname)]


def is_public(hostname: str) -> bool:
    """Whether a public authority could vouch for this name or address."""
    try:
        return ip_address(hostname).is_global
    except ValueError:
        return "." in hostname and not hostname.endswith(PRIVATE_SUFFIXES)


def _ipv6_address() -> str:
    if not BROKER_ALLOCATION.path.exists():
        return ""
    return str(_first_address(read_config(BROKER_ALLOCATION)["prefix"]))


def _first_address(prefix: str) -> IPv6Address:
    return IPv6Network(prefix).network_address + 1


STEP = Step(
    "https",
    N_("Name and certificate"),
    apply=run,
    check=is_in_place,
    plan=describe,
    hint=N_("A public certificate can take a minute; without one the local authority's is used"),
    expect_s=(0, 60),
    timeout_s=600,
)
