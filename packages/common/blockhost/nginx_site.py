"""What nginx serves: the setup site, then the final site. It is the only listener on the network.

A site is a frozen record; its configuration is rendered from typed directives into a generation
of its own under /etc/nginx/blockhost/, tested whole, made live by renaming the link `current`,
and kept only when the reloaded server proves that it serves that generation. Otherwise the
generation before comes back.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import logging
import os
import re
import shutil
import ssl
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from blockhost import command
from blockhost.errors import BlockhostError, ConfigError
from blockhost.fields import Fields, load_json_document
from blockhost.files import make_dir, write_atomic, write_json
from blockhost.nginx_config import Directive, Expression, directive, render
from blockhost.paths import at, is_dry_run, log_dir, root, web_dir, wizard_run_dir

log = logging.getLogger(__name__)

RELOAD_DEADLINE_S = 15.0
MARKER = "/.well-known/blockhost-site"
ADMIN_PREFIX = "/admin"
#: Requests that belong to the wizard while the final site still carries it.
WIZARD_ROUTES = ("/login", "/logout", "/wizard/", "/api/", "/static/", "/healthz")

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|\[?[0-9A-Fa-f:.]{2,45}\]?")
_PREFIX = re.compile(r"(/[a-z0-9][a-z0-9_-]{0,63}){1,4}")
_TAKEN = ("/api", "/wizard", "/static", "/login", "/logout", "/healthz", "/signup.html")
_GENERATION = re.compile(r"generation-(\d{6,})")
_SITES = re.compile(r"include\s+\S*/sites-enabled/\*\S*\s*;")


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


def site_dir() -> Path:
    """Holds the generations and the link `current`."""
    return at("/etc/nginx/blockhost")


def main_file() -> Path:
    """nginx's own configuration: Debian's, or in a dry run ours."""
    return at("/etc/nginx/nginx.conf")


def acme_webroot() -> Path:
    """Where a certificate authority's challenges are answered from, over plain HTTP."""
    return at("/var/www/blockhost-acme")


def activate(site: Site) -> None:
    """Make `site` live; idempotent, and safe to repeat after a kill at any point.

    Raises:
        ConfigError: the site is not acceptable to nginx, or did not answer; what was live
            before is live again.
    """
    _check(site)
    with _exclusive():
        _enable()
        before = _last_proven()
        generation = _candidate(site)
        try:
            _test(generation)
        except BlockhostError as error:
            _discard(generation)
            raise _refused(error) from error
        try:
            _make_current(generation)
            _reload()
            _prove(site, generation)
        except (BlockhostError, OSError) as error:
            _roll_back(before, generation)
            raise _refused(error) from error
        write_atomic(generation / "proven", "", mode=0o644)
        _forget_all_but(generation, before)


def current_site() -> Site | None:
    """The site that `current` names, or None before the first one."""
    file = site_dir() / "current" / "site.json"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return None
    document = Fields(load_json_document(content, source=str(file)), source=str(file))
    common: dict[str, Any] = {
        "cert_file": Path(document.take("cert_file", str)),
        "key_file": Path(document.take("key_file", str)),
        "host_names": tuple(document.strings("host_names")),
    }
    if document.choice("kind", ("SetupSite", "FinalSite")) == "SetupSite":
        return SetupSite(**common)
    return FinalSite(
        **common, path_prefix=document.take("path_prefix", str), wizard=document.take("wizard", bool)
    )


def is_live(site: Site) -> bool:
    """True when `current` is this very site, and the running server answers with it."""
    try:
        generation = _current()
        if generation is None or not _holds(generation, site):
            return False
        _prove(site, generation, deadline_s=2.0)
    except (BlockhostError, OSError):
        return False
    return True


def without_wizard() -> None:
    """Take the wizard's routes out of the final site; before the final site, nothing happens."""
    site = current_site()
    if isinstance(site, FinalSite) and site.wizard:
        activate(replace(site, wizard=False))


def render_site(site: Site, generation: str) -> str:
    """The site's configuration for the http block. `generation` is its name, served on loopback."""
    ports = Ports.here()
    return "# Written by blockhost; changes are lost.\n" + render(
        [
            directive("limit_conn_zone", Expression("$binary_remote_addr"), "zone=blockhost:2m"),
            directive("server", block=_plain_server(ports)),
            directive("server", block=_tls_server(site, generation, ports)),
        ]
    )


# --- rendering -----------------------------------------------------------------------------


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
    yield directive("ssl_session_cache", "shared:blockhost:2m")
    yield directive("ssl_session_tickets", "off")
    yield from _limits("64k")
    yield directive(
        "location", "=", MARKER,
        block=[
            directive("allow", "127.0.0.1"), directive("allow", "::1"), directive("deny", "all"),
            directive("default_type", "text/plain"), directive("return", "200", generation),
        ],
    )  # fmt: skip
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
        block=[*_headers(static=True), directive("try_files", Expression("$uri"), Expression("$uri/"), "=404")],
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
    yield directive("limit_conn", "blockhost", "100")


def _headers(*, static: bool = False) -> Iterator[Directive]:
    """No HSTS: with a local authority, a browser that remembers it locks the operator out."""
    for header in ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy"):
        yield directive("proxy_hide_header", header)
    yield directive("add_header", "X-Content-Type-Options", "nosniff", "always")
    yield directive("add_header", "X-Frame-Options", "DENY", "always")
    yield directive("add_header", "Referrer-Policy", "no-referrer", "always")
    if static:
        policy = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'"
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
    yield directive("proxy_set_header", "Host", Expression("$http_host"))
    yield directive("proxy_set_header", "Connection", "")
    # Replaced, not appended to: what a client claims about itself is worth nothing.
    yield directive("proxy_set_header", "X-Forwarded-For", Expression("$remote_addr"))
    yield directive("proxy_set_header", "X-Forwarded-Proto", "https")
    yield directive("proxy_set_header", "X-Forwarded-Host", Expression("$http_host"))
    yield directive("proxy_set_header", "X-Forwarded-Prefix", "")
    yield directive("proxy_request_buffering", "on")


# --- generations ---------------------------------------------------------------------------


def _check(site: Site) -> None:
    for name in site.host_names:
        if not _HOST_NAME.fullmatch(name):
            raise ConfigError("nginx site", "host_names", f"{name!r} is neither a host name nor an address")
    for field in ("cert_file", "key_file"):
        file: Path = getattr(site, field)
        if not file.is_absolute() or not file.is_file():
            raise ConfigError("nginx site", field, f"{file} is not a file")
    if isinstance(site, FinalSite):
        prefix = site.path_prefix
        if not _PREFIX.fullmatch(prefix):
            raise ConfigError("nginx site", "path_prefix", f"{prefix!r} is not a path such as /admin")
        if any(prefix == taken or prefix.startswith(f"{taken}/") for taken in _TAKEN):
            raise ConfigError("nginx site", "path_prefix", f"{prefix} belongs to another part of the site")


@contextlib.contextmanager
def _exclusive() -> Iterator[None]:
    """One change at a time: setup, renewal and the panel's path change may meet."""
    make_dir(site_dir(), mode=0o755)
    descriptor = os.open(site_dir() / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _enable() -> None:
    """Our site is the only enabled one: Debian's default would claim the same ports."""
    enabled = at("/etc/nginx/sites-enabled")
    make_dir(enabled, mode=0o755)
    make_dir(acme_webroot(), mode=0o755)
    if is_dry_run():
        _write_dry_run_main()
    default = enabled / "default"
    if default.is_symlink():
        default.unlink()
    entry = enabled / "blockhost.conf"
    # A pattern, because nginx must still start where no generation is current.
    text = render([directive("include", site_dir() / "current" / "*.conf")])
    if not entry.exists() or entry.read_text() != text:
        write_atomic(entry, text, mode=0o644)


def _write_dry_run_main() -> None:
    """A main file for an nginx of the user's own, with everything below the root."""
    temporary = at("/var/lib/nginx")
    for directory in (temporary, log_dir() / "nginx", at("/run")):
        make_dir(directory, mode=0o755)
    user = [directive("user", "root")] if os.geteuid() == 0 else []
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    http_block = [
        directive("include", "/etc/nginx/mime.types"),
        directive("access_log", log_dir() / "nginx" / "access.log"),
        *(directive(f"{kind}_temp_path", temporary / kind) for kind in kinds),
        directive("include", at("/etc/nginx/sites-enabled") / "*"),
    ]
    text = render(
        [
            *user,
            directive("worker_processes", 2),
            directive("pid", at("/run/nginx.pid")),
            directive("error_log", log_dir() / "nginx" / "error.log"),
            directive("events", block=[directive("worker_connections", 768)]),
            directive("http", block=http_block),
        ]
    )
    if not main_file().exists() or main_file().read_text() != text:
        write_atomic(main_file(), text, mode=0o644)


def _candidate(site: Site) -> Path:
    """A generation that holds this site: the current one if it does, else a new one."""
    current = _current()
    if current is not None and _holds(current, site):
        return current
    numbers = [number for number, _ in _generations()]
    generation = site_dir() / f"generation-{max(numbers, default=0) + 1:06}"
    make_dir(generation, mode=0o755)
    write_json(generation / "site.json", _document(site), mode=0o644)
    write_atomic(generation / "site.conf", render_site(site, generation.name), mode=0o644)
    return generation


def _holds(generation: Path, site: Site) -> bool:
    try:
        return (generation / "site.conf").read_text() == render_site(site, generation.name) and (
            json.loads((generation / "site.json").read_text()) == _document(site)
        )
    except (OSError, ValueError):
        return False


def _document(site: Site) -> dict[str, Any]:
    fields = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(site).items()}
    return {"kind": type(site).__name__, **fields, "host_names": list(site.host_names)}


def _test(generation: Path) -> None:
    """`nginx -t` on everything as it would be: the main file with this candidate in our entry's place."""
    main = main_file().read_text()
    others = (file for file in sorted(at("/etc/nginx/sites-enabled").iterdir()) if file.name != "blockhost.conf")
    sites = render(directive("include", file) for file in (*others, generation / "site.conf"))
    text, count = _SITES.subn(lambda _: sites, main)
    if count != 1:
        raise BlockhostError(
            f"{main_file()} does not include sites-enabled once",
            hint="Restore Debian's: apt-get install --reinstall -o Dpkg::Options::=--force-confmiss nginx-common",
        )
    candidate = generation / "candidate.main"
    write_atomic(candidate, text, mode=0o644)
    command.run(["nginx", "-t", "-q", "-c", candidate, "-e", "stderr"], timeout=30)


def _make_current(generation: Path) -> None:
    """The one rename that makes a generation current; durable when it returns."""
    spare = site_dir() / ".current.new"
    spare.unlink(missing_ok=True)
    spare.symlink_to(generation.name)
    spare.rename(site_dir() / "current")
    _sync(site_dir())


def _reload() -> None:
    command.run(["systemctl", "reload-or-restart", "nginx.service"], timeout=60)


def _prove(site: Site, generation: Path, *, deadline_s: float = RELOAD_DEADLINE_S) -> None:
    """Wait until a TLS request is answered by this generation with this site's certificate.

    A reload returns before the new configuration serves, and a refused one only writes to a
    log: what counts is what comes over the wire.
    """
    deadline = time.monotonic() + deadline_s
    while True:
        try:
            answer, certificate = _ask_marker(Ports.here().https)
        except (OSError, http.client.HTTPException) as error:
            found = f"no answer: {error}"
        else:
            if answer == generation.name and certificate == _first_certificate(site.cert_file):
                return
            found = f"{answer[:40]!r} answered" if answer != generation.name else "another certificate is served"
        if time.monotonic() > deadline:
            raise BlockhostError(f"nginx does not serve the new site ({found})", hint="journalctl -u nginx")
        time.sleep(0.02)


def _ask_marker(port: int) -> tuple[str, bytes]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the certificate itself is compared
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=3, context=context)
    try:
        connection.connect()
        certificate = connection.sock.getpeercert(binary_form=True) or b""  # type: ignore[union-attr]
        connection.request("GET", MARKER)
        return connection.getresponse().read(200).decode("ascii", "replace"), certificate
    finally:
        connection.close()


def _first_certificate(file: Path) -> bytes:
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    text = file.read_text()
    return ssl.PEM_cert_to_DER_cert(text[text.index(begin) : text.index(end) + len(end)])


def _roll_back(before: Path | None, failed: Path) -> None:
    log.warning("the new site failed; going back to %s", before.name if before else "no site")
    if before is None:
        (site_dir() / "current").unlink(missing_ok=True)
    elif before != failed:
        _make_current(before)
    with contextlib.suppress(BlockhostError):  # the reason for going back is what gets raised
        _reload()
    if before != failed:
        _discard(failed)


def _current() -> Path | None:
    link = site_dir() / "current"
    if not link.is_symlink():
        return None
    generation = site_dir() / os.readlink(link)
    return generation if generation.is_dir() else None


def _last_proven() -> Path | None:
    """The generation to go back to: the newest that once answered."""
    current = _current()
    if current is not None and (current / "proven").exists():
        return current
    proven = [path for _, path in _generations() if (path / "proven").exists()]
    return proven[-1] if proven else None


def _generations() -> list[tuple[int, Path]]:
    found = []
    for path in site_dir().iterdir():
        if match := _GENERATION.fullmatch(path.name):
            found.append((int(match[1]), path))
    return sorted(found)


def _forget_all_but(*kept: Path | None) -> None:
    for _, path in _generations():
        if path not in kept:
            _discard(path)


def _discard(generation: Path) -> None:
    if generation != _current():
        shutil.rmtree(generation, ignore_errors=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refused(error: BaseException) -> ConfigError:
    detail = str(error)
    stderr = getattr(error, "stderr", "")
    emergencies = [line for line in stderr.splitlines() if "[emerg]" in line]
    if emergencies:
        detail = emergencies[0].split("[emerg]", 1)[1].strip()
    detail = detail.replace(str(root()), "/") if str(root()) != "/" else detail
    return ConfigError("nginx site", "", detail, hint=getattr(error, "hint", ""))
