"""The two sites as frozen records, and their rendering as nginx directives."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from blockhost.errors import ConfigError
from blockhost.i18n import gettext as _
from blockhost.nginx_config import Directive, Expression, directive, render
from blockhost.paths import at, is_dry_run, share_dir, web_dir, wizard_run_dir

MARKER = "/.well-known/blockhost-site"
STARTING = "/starting.html"
ADMIN_PREFIX = "/admin"
#: Requests that belong to the wizard while the final site still carries it.
WIZARD_ROUTES = ("/login", "/logout", "/wizard/", "/api/", "/static/", "/healthz")

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]{2,45}\]?")
_PREFIX = re.compile(r"(/[a-z0-9][a-z0-9_-]{0,63}){1,4}")
_TAKEN = ("/api", "/wizard", "/static", "/login", "/logout", "/healthz", "/signup.html")


@dataclass(frozen=True, slots=True)
class SetupSite:
    """Everything goes to the wizard."""

    cert_file: Path
    key_file: Path
    host_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FinalSite:
    """Visitors see the signup page; `path_prefix` leads to the admin panel.

    While `wizard` is true, the wizard's own routes still reach it, so that its last page can
    show how validation went.
    """

    cert_file: Path
    key_file: Path
    host_names: tuple[str, ...] = ()
    path_prefix: str = ADMIN_PREFIX
    wizard: bool = False


Site = SetupSite | FinalSite


@dataclass(frozen=True, slots=True)
class Ports:
    """Where nginx listens and where the panel does; only a dry run moves them."""

    https: int = 443
    http: int = 80
    admin: int = 8443

    @classmethod
    def here(cls) -> Ports:
        if not is_dry_run():
            return cls()
        return cls(
            https=int(os.environ.get("BLOCKHOST_HTTPS_PORT") or 8443),
            http=int(os.environ.get("BLOCKHOST_HTTP_PORT") or 8080),
            admin=int(os.environ.get("BLOCKHOST_ADMIN_PORT") or 8444),
        )


def acme_webroot() -> Path:
    """Where a certificate authority's challenges are answered from, over plain HTTP."""
    return at("/var/www/blockhost-acme")


def check_values(site: Site) -> None:
    """Refuse what could not be served, before anything is written.

    Raises:
        ConfigError: names the field.
    """
    for name in site.host_names:
        if not _HOST_NAME.fullmatch(name):
            raise ConfigError(
                "nginx site",
                "host_names",
                _("%(name)r is neither a host name nor an address") % {"name": name},
            )
    for field in ("cert_file", "key_file"):
        file: Path = getattr(site, field)
        if not file.is_absolute() or not file.is_file():
            raise ConfigError("nginx site", field, _("%(file)s is not a file") % {"file": file})
    if isinstance(site, FinalSite):
        prefix = site.path_prefix
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError(
                "nginx site", "path_prefix", _("%(prefix)r is not a path such as /admin") % {"prefix": prefix}
            )
        if any(prefix == taken or prefix.startswith(f"{taken}/") for taken in _TAKEN):
            raise ConfigError(
                "nginx site",
                "path_prefix",
                _("%(prefix)s belongs to another part of the site") % {"prefix": prefix},
            )


def render_site(site: Site, generation: str) -> str:
    """The site's configuration for the http block. `generation` is its name, served on loopback."""
    ports = Ports.here()
    return "# Written by blockhost; changes are lost.\n" + render(
        [
            directive("limit_conn_zone", Expression("$binary_remote_addr"), "zone=blockhost_clients:2m"),
            directive("server", block=_plain_server(ports)),
            directive("server", block=_tls_server(site, generation, ports)),
        ]
    )


def _plain_server(ports: Ports) -> Iterator[Directive]:
    """Port 80 redirects and answers ACME; it serves nothing else."""
    yield from _listen(ports.http)
    yield directive("server_name", "_")
    yield from _limits("1k")
    yield directive(
        "location", "^~", "/.well-known/acme-challenge/",
        block=[
            directive("root", acme_webroot()),
            directive("default_type", "text/plain"),
            directive("try_files", Expression("$uri"), "=404"),
        ],
    )  # fmt: skip
    port = "" if ports.https == 443 else f":{ports.https}"
    target = Expression(f"https://$host{port}$request_uri")
    yield directive("location", "/", block=[directive("return", "308", target)])


def _tls_server(site: Site, generation: str, ports: Ports) -> Iterator[Directive]:
    yield from _listen(ports.https, "ssl")
    yield directive("server_name", *(name.strip("[]") for name in site.host_names), "_")
    yield directive("ssl_certificate", site.cert_file)
    yield directive("ssl_certificate_key", site.key_file)
    yield directive("ssl_protocols", "TLSv1.2", "TLSv1.3")
    yield directive("ssl_session_cache", "shared:blockhost_tls:2m")
    yield directive("ssl_session_tickets", "off")
    yield from _limits("64k")
    yield directive(
        "location", "=", MARKER,
        block=[
            directive("allow", "127.0.0.1"), directive("allow", "::1"), directive("deny", "all"),
            directive("default_type", "text/plain"), directive("return", "200", generation),
        ],
    )  # fmt: skip
    yield from _starting_page()
    if isinstance(site, SetupSite):
        yield from _wizard_locations(("/",))
        return
    if site.wizard:
        yield from _wizard_locations(WIZARD_ROUTES)
    yield from _panel_locations(site.path_prefix, ports)
    yield directive("root", web_dir())
    yield directive("index", "signup.html")
    yield directive(
        "location", "/",
        block=[
            *_headers(static=True),
            directive("try_files", Expression("$uri"), Expression("$uri/"), "=404"),
        ],
    )  # fmt: skip


def _starting_page() -> Iterator[Directive]:
    """What a browser sees while wizard or panel do not answer: a page that looks again, not nginx's error."""
    yield directive("error_page", "502", "504", "=503", STARTING)
    yield directive(
        "location", "=", STARTING,
        block=[
            directive("internal"),
            directive("root", share_dir() / "web"),
            *_headers(static=True),
            directive("add_header", "Retry-After", "3", "always"),
            directive("add_header", "Cache-Control", "no-store", "always"),
        ],
    )  # fmt: skip


def _listen(port: int, *extra: str) -> Iterator[Directive]:
    yield directive("listen", port, *extra, "default_server")
    if Path("/proc/net/if_inet6").exists():
        yield directive("listen", f"[::]:{port}", *extra, "default_server", "ipv6only=on")


def _limits(body: str) -> Iterator[Directive]:
    """Slow and greedy clients lose: short header and body times, small buffers, few connections."""
    yield directive("server_tokens", "off")
    yield directive("client_max_body_size", body)
    yield directive("client_header_timeout", "10s")
    yield directive("client_body_timeout", "15s")
    yield directive("send_timeout", "30s")
    yield directive("keepalive_timeout", "30s")
    yield directive("reset_timedout_connection", "on")
    yield directive("large_client_header_buffers", "4", "8k")
    yield directive("limit_conn", "blockhost_clients", "100")


def _headers(*, static: bool = False) -> Iterator[Directive]:
    """No HSTS: with a local authority, a browser that remembers it locks the operator out."""
    for header in ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"):
        yield directive("proxy_hide_header", header)
    yield directive("add_header", "X-Content-Type-Options", "nosniff", "always")
    yield directive("add_header", "X-Frame-Options", "DENY", "always")
    # Not `no-referrer`: browsers then send `Origin: null` with our own forms, and they are refused.
    yield directive("add_header", "Referrer-Policy", "same-origin", "always")
    if static:
        policy = (
            "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'"
        )
        policy += "; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
        yield directive("add_header", "Content-Security-Policy", policy, "always")


def _wizard_locations(routes: tuple[str, ...]) -> Iterator[Directive]:
    for route in routes:
        match = ("^~",) if route.endswith("/") and route != "/" else () if route == "/" else ("=",)
        yield directive("location", *match, route, block=_wizard_proxy())
    events = [
        *_wizard_proxy(),
        directive("proxy_buffering", "off"),
        directive("proxy_cache", "off"),
        directive("gzip", "off"),
        directive("proxy_read_timeout", "1h"),
    ]
    yield directive("location", "=", "/api/finalize/events", block=events)
    restore = [*_wizard_proxy(), directive("client_max_body_size", "1m")]
    yield directive("location", "=", "/api/restore-config", block=restore)


def _wizard_proxy() -> list[Directive]:
    return [*_proxy(f"http://unix:{wizard_run_dir() / 'wizard.sock'}:"), *_headers()]


def _panel_locations(prefix: str, ports: Ports) -> Iterator[Directive]:
    yield directive("location", "=", prefix, block=[directive("return", "308", f"{prefix}/")])
    panel = [
        *_proxy(f"http://127.0.0.1:{ports.admin}/"),  # the trailing slash strips the prefix
        directive("proxy_set_header", "X-Forwarded-Prefix", prefix),
        *_headers(),
    ]
    yield directive("location", "^~", f"{prefix}/", block=panel)


def _proxy(upstream: str) -> Iterator[Directive]:
    yield directive("proxy_pass", upstream)
    yield directive("proxy_http_version", "1.1")
    # The defaults are too small for the headers below, and nginx warns at each start.
    yield directive("proxy_headers_hash_max_size", "1024")
    yield directive("proxy_headers_hash_bucket_size", "128")
    yield directive("proxy_set_header", "Host", Expression("$http_host"))
    yield directive("proxy_set_header", "Connection", "")
    # Replaced, not appended to: what a client claims about itself is worth nothing.
    yield directive("proxy_set_header", "X-Forwarded-For", Expression("$remote_addr"))
    yield directive("proxy_set_header", "X-Forwarded-Proto", "https")
    yield directive("proxy_set_header", "X-Forwarded-Host", Expression("$http_host"))
    yield directive("proxy_set_header", "X-Forwarded-Prefix", "")
    yield directive("proxy_request_buffering", "on")
