"""Step `ipv6`: where the VMs' public addresses come from, and forwarding for them."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv6Network
from typing import Any

from blockhost.command import find
from blockhost.config_files import BROKER_ALLOCATION, DB, read_config, update_config
from blockhost.errors import StepFailed
from blockhost.files import write_atomic
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.paths import at, run_dir
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step

FORWARDING = "net.ipv6.conf.all.forwarding"
#: Enough for any host, and small enough to search for a free address.
LARGEST_POOL = 65536


def run(context: StepContext) -> None:
    answer = context.answers.get("ipv6") or {}
    mode = answer.get("mode", "none")
    if mode == "none":
        return
    if mode == "broker" and not _is_leased():
        _lease(context, answer)
    prefix = _prefix(answer)
    update_config(DB, {"ipv6_pool": pool(prefix)})
    _forward(context)


def is_ready(context: StepContext) -> bool:
    """The prefix is in db.yaml and the kernel forwards; mode `none` needs nothing."""
    answer = context.answers.get("ipv6") or {}
    mode = answer.get("mode", "none")
    if mode == "none":
        context.result({"prefix": "", "mode": mode})
        return True
    if mode == "broker" and not _is_leased():
        return False
    prefix = _prefix(answer)
    if _known_pool() != pool(prefix) or not _forwards(context):
        return False
    context.result({"prefix": str(prefix), "mode": mode})
    return True


def describe(context: StepContext) -> list[Change]:
    answer = context.answers.get("ipv6") or {}
    mode = answer.get("mode", "none")
    if mode == "none":
        return []
    changes = [
        Change("file", str(DB.path), "ipv6_pool"),
        Change("file", "/etc/sysctl.d/60-blockhost-ipv6.conf", FORWARDING),
    ]
    if mode == "broker":
        registry = answer.get("broker_registry") or _("the engine's registry")
        return [
            Change(
                "host",
                str(registry),
                _("lease a /%(allocation_size)s") % {"allocation_size": answer.get("allocation_size", 64)},
            ),
            Change("file", str(BROKER_ALLOCATION.path)),
            *changes,
        ]
    return changes


def pool(prefix: IPv6Network) -> dict[str, str]:
    """The VMs' addresses of a prefix: the first two are the network's and the host's own."""
    first = int(prefix.network_address)
    last = min(int(prefix.broadcast_address), first + LARGEST_POOL - 1)
    return {"start": str(prefix.network_address + 2), "end": str(prefix.network_address + (last - first))}


def _lease(context: StepContext, answer: Mapping[str, Any]) -> None:
    if find("broker-client") is None:
        raise StepFailed(
            _("IPv6 from a broker needs the broker client, and it is not installed"),
            hint=_("Install the package blockhost-broker-client, or choose a manual prefix or none"),
        )
    size = str(answer.get("allocation_size", 64))
    registry = answer.get("broker_registry") or ""
    context.progress(0.1, _("asking the broker for a prefix"))
    options = ["--registry", registry] if registry else []
    context.stream(["broker-client", "request", "--size", size, *options], timeout=600)
    context.progress(0.7, _("installing the tunnel"))
    context.stream(["broker-client", "install"], timeout=300)
    if not _is_leased():
        raise StepFailed(_("the broker client ended without an allocation"))


def _is_leased() -> bool:
    return BROKER_ALLOCATION.path.exists()


def _prefix(answer: Mapping[str, Any]) -> IPv6Network:
    if answer.get("mode") == "broker":
        text = str(read_config(BROKER_ALLOCATION).get("prefix", ""))
    else:
        text = str(answer.get("prefix", ""))
    try:
        return IPv6Network(text)
    except ValueError as error:
        raise StepFailed(_("%r is not an IPv6 prefix") % text) from error


def _known_pool() -> object:
    try:
        return (read_config(DB) or {}).get("ipv6_pool")
    except FileNotFoundError:
        return None


def _forward(context: StepContext) -> None:
    """Forwarding turns router advertisements off, unless an interface asks for them all the same."""
    lines = [f"{FORWARDING} = 1"]
    bridge = run_dir() / "bridge"
    if bridge.exists() and (name := bridge.read_text().strip()):
        lines.insert(0, f"net.ipv6.conf.{name}.accept_ra = 2")
    file = at("/etc/sysctl.d/60-blockhost-ipv6.conf")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, "\n".join(lines) + "\n", mode=0o644)
    context.run(["sysctl", "--quiet", "--load", file])


def _forwards(context: StepContext) -> bool:
    return context.probe(["sysctl", "--values", FORWARDING]).stdout.strip() == "1"


STEP = Step(
    "ipv6",
    N_("IPv6 for the virtual machines"),
    apply=run,
    check=is_ready,
    plan=describe,
    hint=N_("A broker may take a minute to answer"),
    expect_s=(0, 60),
    timeout_s=1200,
)
