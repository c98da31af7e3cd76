"""Everything that the card shows, read afresh: nothing here is stored, nothing is changed."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from blockhost import boot_clock, codes, command, framing, paths
from blockhost.config_files import ADMIN, HTTPS, ConfigFile, read_config
from blockhost.errors import BlockhostError
from blockhost.nginx_site import Ports
from blockhost.pipeline import Record, Status
from installer.firstboot import plan
from installer.firstboot.progress import read_progress
from installer.host.interfaces import own_addresses
from installer.tls import certificate, local_ca
from installer.tls.names import local_name

WORKER_TIMEOUT_S = 2.0
UNITS = ("blockhost-admin.service", "blockhost-root-agent.service", "nginx.service")


class CodeState(StrEnum):
    NONE = "none"
    USABLE = "usable"
    USED = "used"
    LOCKED = "locked"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class CodeFact:
    """The one-time code; its symbols only while it can still be used."""

    state: CodeState
    code: str = ""
    seconds_left: int = 0


@dataclass(frozen=True, slots=True)
class WorkFact:
    """First boot or finalization: how far, at what, and what failed."""

    done: int
    total: int
    doing: str = ""
    message: str = ""
    seconds: float = 0.0
    expected_s: float = 0.0
    failed: str = ""
    error: str = ""
    hint: str = ""

    @property
    def is_complete(self) -> bool:
        return self.total > 0 and self.done == self.total


@dataclass(frozen=True, slots=True)
class Facts:
    """One reading of the host."""

    addresses: tuple[str, ...]
    local_name: str
    port: int
    fingerprint: str
    code: CodeFact
    first_boot: WorkFact
    run: WorkFact | None = None
    run_status: str = ""
    panel: str = ""
    stopped_units: tuple[str, ...] = ()
    version: str = ""
    dry_run: bool = False
    setup_complete: bool = False
    log: tuple[str, ...] = field(default=())

    def urls(self) -> list[str]:
        return [self.url(address) for address in self.addresses]

    def url(self, host: str) -> str:
        try:
            is_v6 = ipaddress.ip_address(host).version == 6
        except ValueError:
            is_v6 = False
        bare = f"[{host}]" if is_v6 else host
        return f"https://{bare}/" if self.port == 443 else f"https://{bare}:{self.port}/"

    def link(self) -> str:
        """The address with the code in the fragment, which browsers do not send anywhere."""
        if not self.addresses or self.code.state is not CodeState.USABLE:
            return ""
        return f"{self.url(self.addresses[0])}#{self.code.code}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "urls": self.urls(), "link": self.link()}


def read_facts() -> Facts:
    """Read everything; what cannot be read is left empty, for a card with gaps beats no card."""
    setup_complete = (paths.state_dir() / ".setup-complete").exists()
    status = {} if setup_complete else _worker_status()
    return Facts(
        addresses=_shown_addresses(),
        local_name=local_name(),
        port=Ports.here().https,
        fingerprint=_fingerprint(),
        code=_code(),
        first_boot=_first_boot(),
        run=_run(status),
        run_status=str(status.get("status", "")),
        panel=_panel() if setup_complete else "",
        stopped_units=_stopped_units() if setup_complete else (),
        version=_version(),
        dry_run=paths.is_dry_run(),
        setup_complete=setup_complete,
    )


def _shown_addresses() -> tuple[str, ...]:
    """What a browser can use: IPv6 link-local addresses need a zone, so they are left out."""
    try:
        found = own_addresses()
    except BlockhostError:
        return ()
    parsed = [ipaddress.ip_address(address) for address in found]
    return tuple(str(address) for address in parsed if address.version == 4 or not address.is_link_local)


def _fingerprint() -> str:
    """Of the certificate that is served: a public one replaces the local authority's."""
    try:
        named = _config(HTTPS).get("cert_file")
        return certificate.fingerprint(Path(named) if named else local_ca.tls_dir() / "server.crt")
    except (BlockhostError, OSError):
        return ""


def _code() -> CodeFact:
    try:
        code = codes.current()
    except (BlockhostError, OSError):
        return CodeFact(CodeState.NONE)
    if code is None:
        return CodeFact(CodeState.NONE)
    if code.verified:
        return CodeFact(CodeState.USED)
    if code.locked:
        return CodeFact(CodeState.LOCKED)
    if code.is_expired:
        return CodeFact(CodeState.EXPIRED)
    return CodeFact(CodeState.USABLE, code.code, code.seconds_left)


def _first_boot() -> WorkFact:
    steps = {step.id: step for step in plan.steps()}
    try:
        records = plan.store().all(steps)
    except OSError:
        records = [Record(step_id) for step_id in steps]
    done = sum(record.status is Status.COMPLETED for record in records)
    failed = next((record for record in records if record.status is Status.FAILED), Record(""))
    doing = read_progress()
    current = steps.get(doing.step_id) if doing else None
    is_at_work = doing is not None and current is not None and done < len(steps)
    return WorkFact(
        done=done,
        total=len(steps),
        doing=current.label if is_at_work and current else "",
        message=doing.message if is_at_work and doing else "",
        seconds=boot_clock.seconds() - doing.since if is_at_work and doing else 0.0,
        expected_s=current.expect_s[1] if is_at_work and current else 0.0,
        failed=steps[failed.step_id].label if failed.step_id else "",
        error=failed.error,
        hint=failed.hint,
    )


def _worker_status() -> Mapping[str, Any]:
    socket = paths.setup_run_dir() / "worker.sock"
    if not socket.exists():
        return {}
    try:
        return framing.call(socket, {"command": "status"}, timeout=WORKER_TIMEOUT_S)
    except (BlockhostError, OSError):
        return {}


def _run(status: Mapping[str, Any]) -> WorkFact | None:
    """The finalization run, once there is one."""
    steps = status.get("steps")
    if not isinstance(steps, dict) or status.get("status") in (None, "pending"):
        return None
    failed = str(status.get("failed_step") or "")
    details = steps.get(failed) or {}
    return WorkFact(
        done=len(status.get("completed_steps") or []),
        total=len(steps),
        doing=str(status.get("current_step") or ""),
        failed=failed,
        error=str(details.get("error") or status.get("error") or ""),
        hint=str(details.get("hint") or ""),
    )


def _panel() -> str:
    host = _config(HTTPS).get("hostname") or next(iter(_shown_addresses()), local_name())
    prefix = _config(ADMIN).get("path_prefix") or "/admin"
    return f"https://{host}{prefix}/"


def _config(row: ConfigFile) -> Mapping[str, Any]:
    try:
        document = read_config(row)
    except (OSError, BlockhostError):
        return {}
    return document if isinstance(document, dict) else {}


def _stopped_units() -> tuple[str, ...]:
    return tuple(unit for unit in UNITS if not _is_active(unit))


def _is_active(unit: str) -> bool:
    try:
        return command.probe(["systemctl", "is-active", "--quiet", unit], timeout=10).code == 0
    except BlockhostError:
        return False


def _version() -> str:
    try:
        text = paths.at("/etc/blockhost-release").read_text()
    except OSError:
        return ""
    lines = (line.partition("=") for line in text.splitlines())
    return next((value.strip('"') for key, _, value in lines if key == "BLOCKHOST_VERSION"), "")
