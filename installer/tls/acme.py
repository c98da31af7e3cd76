"""A certificate from a public authority, through certbot, and why there is none.

Never needed for the host to work: the local authority's certificate serves meanwhile. What certbot
says is mapped to a reason that an operator can act on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from blockhost import command, paths
from blockhost.command import Completed
from blockhost.errors import BlockhostError, CommandFailed
from blockhost.files import make_dir
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.nginx_site import acme_webroot
from installer.tls.certificate import Certificate, fingerprint

TIMEOUT_S = 240.0


class Reason(StrEnum):
    """Why there is no certificate."""

    DNS = "dns"
    PORT_80 = "port-80"
    CAA = "caa"
    RATE_LIMIT = "rate-limit"
    ACCOUNT_UNKNOWN = "account-unknown"
    ADDRESS = "address-not-supported"
    UNREACHABLE = "authority-unreachable"
    NOT_INSTALLED = "certbot-missing"
    OTHER = "other"


EXPLANATIONS: dict[Reason, tuple[str, str]] = {
    Reason.DNS: (
        N_("{name} does not resolve to this host"),
        N_("Set its A or AAAA record to this host's public address"),
    ),
    Reason.PORT_80: (
        N_("the authority could not fetch a file from {name} on port 80"),
        N_("Is TCP port 80 forwarded to this host?"),
    ),
    Reason.CAA: (
        N_("a CAA record of {name} forbids this authority"),
        N_("Add the authority to the CAA record, or remove it"),
    ),
    Reason.RATE_LIMIT: (
        N_("the authority has issued too many certificates for {name} lately"),
        N_("Try again in a week; the local certificate serves meanwhile"),
    ),
    Reason.ACCOUNT_UNKNOWN: (
        N_("the authority no longer knows this host's account"),
        N_("It is registered again at the next try"),
    ),
    Reason.ADDRESS: (
        N_("this version of certbot cannot ask for a bare address ({name})"),
        N_("Give the host a name"),
    ),
    Reason.UNREACHABLE: (
        N_("the authority cannot be reached"),
        N_("Does this host reach the internet?"),
    ),
    Reason.NOT_INSTALLED: (N_("certbot is not installed"), ""),
    Reason.OTHER: (N_("the authority refused {name}"), N_("See /var/log/letsencrypt/letsencrypt.log")),
}

#: In the order of asking: the first that matches certbot's output names the reason.
_SIGNS: tuple[tuple[Reason, re.Pattern[str]], ...] = tuple(
    (reason, re.compile(pattern, re.IGNORECASE))
    for reason, pattern in (
        # certbot before 2.2 buries the true error under an AttributeError (a josepy bug); seen when
        # an authority has forgotten the account.
        (
            Reason.ACCOUNT_UNKNOWN,
            r"accountDoesNotExist|AttributeError: can't set attribute|unable to find account",
        ),
        (Reason.RATE_LIMIT, r"rateLimited|too many (certificates|failed|registrations)|rate limit"),
        (Reason.CAA, r"\bcaa\b"),
        (Reason.ADDRESS, r"is an IP address\.|bare IP address|IP address.*not supported"),
        (
            Reason.DNS,
            (
                r"urn:ietf:params:acme:error:dns|NXDOMAIN|Type:\s+dns|no valid (A|IP) |DNS problem"
                r"|could not resolve URL"
            ),
        ),
        (
            Reason.PORT_80,
            (
                r"Type:\s+(connection|unauthorized)|error:(connection|unauthorized)|Timeout during connect"
                r"|Connection refused.*http-01|Fetching http://|problem binding to port"
            ),
        ),
        (
            Reason.UNREACHABLE,
            (
                r"Max retries exceeded|Failed to establish|NewConnectionError|Temporary failure in name"
                r"|Network is unreachable|Requesting \S+: *(Connection|No route|Network)"
                r"|requests\.exceptions\.|ConnectTimeout|ReadTimeout"
            ),
        ),
    )
)


class AcmeRefused(BlockhostError):
    """There is no public certificate; `reason` for programs, message and hint for people."""

    def __init__(self, reason: Reason, name: str) -> None:
        message, hint = EXPLANATIONS[reason]
        super().__init__(_(message).format(name=name), hint=_(hint) if hint else "")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Authority:
    """Which authority is asked, and how. The defaults are certbot's own."""

    directory_url: str = ""
    #: Where nginx serves challenges from; None: certbot listens itself, on `http_port`.
    webroot: Path | None = field(default_factory=acme_webroot)
    http_port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def obtain(name: str, *, email: str = "", authority: Authority | None = None) -> Certificate:
    """A certificate for `name`; the one at hand while it is not due (certbot keeps it).

    Raises:
        AcmeRefused: there is none, and why.
    """
    authority = authority or Authority()
    done = _ask(name, email, authority)
    if _reason_of(done) is Reason.ACCOUNT_UNKNOWN:
        # The same words also stand for a nonce rejected twice, which passes by itself; and accounts
        # are precious (their registration is rate-limited), so they go only at the second time.
        done = _ask(name, email, authority)
    if _reason_of(done) is Reason.ACCOUNT_UNKNOWN:
        _forget_accounts()
        done = _ask(name, email, authority)
    if done.code != 0:
        raise AcmeRefused(_reason_of(done) or Reason.OTHER, name)
    live = _config_dir() / "live" / name
    cert_file, key_file = live / "fullchain.pem", live / "privkey.pem"
    if not (cert_file.exists() and key_file.exists()):
        raise AcmeRefused(Reason.OTHER, name)
    return Certificate(cert_file, key_file, fingerprint(cert_file))


def _ask(name: str, email: str, authority: Authority) -> Completed:
    argv = [
        *("certbot", "certonly", "--non-interactive", "--agree-tos", "--keep-until-expiring"),
        *("--cert-name", name, "-d", name, "--key-type", "ecdsa"),
        *("--config-dir", _config_dir(), "--work-dir", paths.at("/var/lib/letsencrypt")),
        *("--logs-dir", paths.at("/var/log/letsencrypt")),
        *(("--email", email) if email else ("--register-unsafely-without-email",)),
    ]
    if authority.webroot is not None:
        make_dir(authority.webroot, mode=0o755)
        argv += ["--webroot", "--webroot-path", authority.webroot]
    else:
        argv += ["--standalone"]
    if authority.http_port is not None:
        argv += ["--http-01-port", str(authority.http_port)]
    if authority.directory_url:
        argv += ["--server", authority.directory_url]
    if command.find("certbot") is None:
        raise AcmeRefused(Reason.NOT_INSTALLED, name)
    try:
        return command.probe(argv, timeout=TIMEOUT_S, env=authority.environment)
    except CommandFailed as error:
        raise AcmeRefused(Reason.UNREACHABLE, name) from error


def _reason_of(done: Completed) -> Reason | None:
    if done.code == 0:
        return None
    said = f"{done.stdout}\n{done.stderr}"
    return next((reason for reason, sign in _SIGNS if sign.search(said)), Reason.OTHER)


def _forget_accounts() -> None:
    """Move certbot's accounts aside, so that it registers again."""
    accounts = _config_dir() / "accounts"
    if not accounts.exists():
        return
    number = 1
    while (aside := accounts.with_name(f"accounts.unknown-{number}")).exists():
        number += 1
    accounts.rename(aside)


def _config_dir() -> Path:
    return paths.at("/etc/letsencrypt")
