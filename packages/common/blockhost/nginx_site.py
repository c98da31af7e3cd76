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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from blockhost import command
from blockhost.errors import BlockhostError, ConfigError
from blockhost.fields import Fields, load_json_document
from blockhost.files import make_dir, write_atomic, write_json
from blockhost.i18n import gettext as _
from blockhost.nginx_config import directive, render
from blockhost.nginx_layout import (
    MARKER,
    FinalSite,
    Ports,
    SetupSite,
    Site,
    acme_webroot,
    check_values,
    render_site,
)
from blockhost.paths import at, is_dry_run, log_dir, root

__all__ = ["FinalSite", "Ports", "SetupSite", "Site", "acme_webroot", "activate", "current_site", "is_live"]

log = logging.getLogger(__name__)

RELOAD_DEADLINE_S = 15.0
_GENERATION = re.compile(r"generation-(\d{6,})")
_SITES = re.compile(r"include\s+\S*/sites-enabled/\*\S*\s*;")


def site_dir() -> Path:
    """Holds the generations and the link `current`."""
    return at("/etc/nginx/blockhost")


def main_file() -> Path:
    """nginx's own configuration: Debian's, or in a dry run ours."""
    return at("/etc/nginx/nginx.conf")


def activate(site: Site) -> None:
    """Make `site` live; idempotent, and safe to repeat after a kill at any point.

    Raises:
        ConfigError: the site is not acceptable to nginx, or did not answer; what was live
            before is live again.
    """
    check_values(site)
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
    """True when `current` is this very site, proven, and the running server answers with it.

    One that answers but was never proven is not finished: a rollback would not know it.
    """
    try:
        generation = _current()
        if generation is None or not (generation / "proven").exists() or not _holds(generation, site):
            return False
        _prove(site, generation, deadline_s=0.5)
    except (BlockhostError, OSError):
        return False
    return True


def without_wizard() -> None:
    """Take the wizard's routes out of the final site; before the final site, nothing happens."""
    site = current_site()
    if isinstance(site, FinalSite) and site.wizard:
        activate(replace(site, wizard=False))


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
    numbers = [number for number, _path in _generations()]
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
    """`nginx -t` on the whole: the main file, with this candidate in the place of our entry."""
    main = main_file().read_text()
    others = (
        file for file in sorted(at("/etc/nginx/sites-enabled").iterdir()) if file.name != "blockhost.conf"
    )
    sites = render(directive("include", file) for file in (*others, generation / "site.conf"))
    text, count = _SITES.subn(lambda _found: sites, main)
    if count != 1:
        raise BlockhostError(
            _("%(main_file)s does not include sites-enabled once") % {"main_file": main_file()},
            hint=_("Restore Debian's nginx.conf, from the package nginx-common"),
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
            found = _("no answer: %(error)s") % {"error": error}
        else:
            if answer == generation.name and certificate == _first_certificate(site.cert_file):
                return
            found = (
                f"{answer[:40]!r} answered"
                if answer != generation.name
                else _("another certificate is served")
            )
        if time.monotonic() > deadline:
            raise BlockhostError(
                _("nginx does not serve the new site (%(found)s)") % {"found": found},
                hint="journalctl -u nginx",
            )
        time.sleep(0.02)


def _ask_marker(port: int) -> tuple[str, bytes]:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # the certificate itself is compared
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=3, context=context)
    try:
        connection.connect()
        certificate = connection.sock.getpeercert(binary_form=True) or b""
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
    generation = site_dir() / link.readlink()
    return generation if generation.is_dir() else None


def _last_proven() -> Path | None:
    """The generation to go back to: the newest that once answered."""
    current = _current()
    if current is not None and (current / "proven").exists():
        return current
    proven = [path for _number, path in _generations() if (path / "proven").exists()]
    return proven[-1] if proven else None


def _generations() -> list[tuple[int, Path]]:
    found = []
    for path in site_dir().iterdir():
        if match := _GENERATION.fullmatch(path.name):
            found.append((int(match[1]), path))
    return sorted(found)


def _forget_all_but(*kept: Path | None) -> None:
    for _number, path in _generations():
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
    if emergency := re.search(r"\[emerg\] (?:\d+#\d+: )?(.+)", stderr):
        detail = emergency[1]
    if root() != Path("/"):
        detail = detail.replace(str(root()), "")
    return ConfigError("nginx site", "", detail, hint=getattr(error, "hint", ""))
