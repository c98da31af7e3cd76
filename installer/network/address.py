"""The operator's answer for the network: typed, tried beside the old address, confirmed or taken back.

Answer, then switch, then confirm: the new address is added while the old one stays, so the page
that asked keeps answering. What is not confirmed in time is taken back by a timer outside the
process that made the change, and by the next start.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from pathlib import Path
from typing import Any

from blockhost import boot_clock, command, paths
from blockhost.errors import AnswerError, CommandFailed, StepFailed
from blockhost.files import write_atomic
from blockhost.i18n import gettext as _
from installer.network import bridge, gateway, journal, persist, state
from installer.network.journal import Note, Phase

KIND = "address"
#: How long the operator has to open the page under its new address.
CONFIRM_S = 120.0
TIMER = "blockhost-network-revert"
#: Before any route that came by DHCP, so that the new gateway is really used while it is tried.
TRIAL_METRIC = 50
_INTERFACE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")  # IFNAMSIZ is 16 with its end


class Method(StrEnum):
    DHCP = "dhcp"
    STATIC = "static"


@dataclass(frozen=True, slots=True)
class NetworkPlan:
    """A checked answer. `interface` empty means: the bridge, or the card of the default route."""

    method: Method
    interface: str = ""
    address: IPv4Interface | IPv6Interface | None = None
    gateway: IPv4Address | IPv6Address | None = None
    dns: tuple[IPv4Address | IPv6Address, ...] = ()

    @classmethod
    def parse(
        cls,
        *,
        method: str,
        interface: str = "",
        address: str = "",
        netmask: str = "",
        gateway: str = "",
        dns: str | Sequence[str] = (),
    ) -> NetworkPlan:
        """Read the form fields of the same names; `dns` may be comma separated.

        Raises:
            AnswerError: names the field and what was found in it.
        """
        if method.strip() not in tuple(Method):
            raise AnswerError("method", _("{value!r} is neither dhcp nor static").format(value=method))
        name = interface.strip()
        if name and not _INTERFACE.fullmatch(name):
            raise AnswerError("interface", _("{value!r} is not the name of an interface").format(value=name))
        if Method(method.strip()) is Method.DHCP:
            return cls(Method.DHCP, name)
        own = _parse_address(address.strip(), netmask.strip())
        return cls(Method.STATIC, name, own, _parse_gateway(gateway.strip(), own), _parse_dns(dns))

    def to_json(self) -> dict[str, Any]:
        """The plan as `parse` reads it."""
        return {
            "method": self.method.value,
            "interface": self.interface,
            "address": str(self.address or ""),
            "gateway": str(self.gateway or ""),
            "dns": [str(server) for server in self.dns],
        }


@dataclass(frozen=True, slots=True)
class Switch:
    """A change that is being tried: where to look, and for how many seconds it stays unconfirmed."""

    interface: str
    address: str
    seconds_left: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def apply_answer(plan: NetworkPlan, *, confirm_within_s: float = CONFIRM_S) -> Switch | None:
    """Try the answer. None: it is what the host has already, so there is nothing to confirm.

    Raises:
        StepFailed: the new way out does not answer; everything is as it was.
    """
    recover()
    device = _device(plan)
    before = state.read_interface(device)
    if before is None:
        raise StepFailed(_("there is no interface {name}").format(name=device))
    if plan.method is Method.DHCP and before.has_lease:
        return None
    if plan.method is Method.STATIC and _is_in_place(plan, device):
        return None
    note = journal.write(
        Note(
            kind=KIND,
            before=[before],
            made=[],
            files=journal.snapshot_files([persist.address_file(device), _trial_file(device)]),
            plan={**plan.to_json(), "device": device},
            deadline=boot_clock.seconds() + confirm_within_s,
        )
    )
    try:
        _arm_timer(confirm_within_s)
        address = _try_static(plan, device) if plan.method is Method.STATIC else _try_dhcp(device)
    except BaseException as error:
        journal.take_back(note)
        _disarm_timer()
        if isinstance(error, CommandFailed):
            raise StepFailed(
                _("the address was not accepted, so the network is as it was: {error}").format(error=error)
            ) from error
        raise
    return Switch(device, address, confirm_within_s)


def confirm() -> bool:
    """Keep what is being tried; False when nothing is (or it was taken back already)."""
    note = journal.read()
    if note is None or note.kind != KIND:
        return False
    if _is_overdue(note):
        revert()
        return False
    _finish(journal.keep(note))
    return True


def revert() -> bool:
    """Take back what is being tried; False when nothing is."""
    note = journal.read()
    if note is None or note.kind != KIND:
        return False
    journal.take_back(note)
    _disarm_timer()
    return True


def recover(*, patient: bool = False) -> None:
    """Settle a change that a crash left open: finish what was confirmed, take back the rest.

    With `patient`, one that may still be confirmed is left alone.
    """
    note = journal.read()
    if note is None or note.kind != KIND:
        return
    if note.phase is Phase.KEEPING:
        _finish(note)
    elif not patient or _is_overdue(note):
        revert()


def pending() -> Switch | None:
    """The change that waits for its confirmation."""
    note = journal.read()
    if note is None or note.kind != KIND or _is_overdue(note):
        return None
    left = (note.deadline or 0.0) - boot_clock.seconds()
    return Switch(str(note.plan["device"]), str(note.plan["address"]).partition("/")[0], left)


def leased_address(plan: NetworkPlan) -> str | None:
    """The address that the plan's interface has now."""
    now = state.read_interface(_device(plan))
    addresses = now.global_ipv4() if now is not None else []
    return addresses[0].partition("/")[0] if addresses else None


def _finish(note: Note) -> None:
    plan, device = note.plan, str(note.plan["device"])
    if plan["method"] == Method.STATIC:
        kept = [plan["address"]]
        text = persist.render_static(device, kept, plan["gateway"] or None, plan["dns"])
    else:
        text = persist.render_dhcp(device)
    persist.write_files([persist.NetworkdFile(persist.address_file(device), text)])
    persist.remove_files([_trial_file(device)])
    if plan["method"] == Method.STATIC and note.is_of_this_boot:
        _leave_old_address(note, device)
    persist.reload()
    journal.clear()
    _disarm_timer()


def _leave_old_address(note: Note, device: str) -> None:
    """Remove the addresses and default routes of the same family that the new one replaces."""
    new = ipaddress.ip_interface(note.plan["address"])
    family = "inet" if new.version == 4 else "inet6"
    now = state.read_interface(device)
    if now is None:
        return
    for route in now.routes4 if family == "inet" else now.routes6:
        if route.get("dst") == "default" and route.get("gateway") != note.plan["gateway"]:
            arguments = state.route_arguments(route, device)
            command.probe(["ip", "-4" if family == "inet" else "-6", "route", "del", *arguments])
    for address in now.addresses:
        is_other = address["family"] == family and address["local"] != str(new.ip)
        if is_other and address.get("scope") == "global":
            command.probe(["ip", "addr", "del", f"{address['local']}/{address['prefixlen']}", "dev", device])
    # In the same network the new address was a secondary one, and went with the old one.
    _add_static(parse_fields(note.plan), device)


def _try_static(plan: NetworkPlan, device: str) -> str:
    address = _add_static(plan, device)
    if plan.gateway is not None and not gateway.answers(str(plan.gateway), device):
        raise StepFailed(
            _("the gateway {gateway} does not answer, so the network is as it was").format(
                gateway=plan.gateway
            ),
            hint=_("Check address, netmask and gateway"),
        )
    return address


def _add_static(plan: NetworkPlan, device: str) -> str:
    """Add the plan's address and default route to what the device has; repeating it is harmless."""
    assert plan.address is not None
    family = "-4" if plan.address.version == 4 else "-6"
    state.ip("link", "set", "dev", device, "up")
    state.ip(family, "addr", "replace", str(plan.address), "dev", device)
    state.wait_until_usable(device)
    if plan.gateway is not None:
        state.ip(
            *(family, "route", "replace", "default", "via", str(plan.gateway)),
            *("dev", device, "metric", str(TRIAL_METRIC)),
        )
    return str(plan.address.ip)


def _try_dhcp(device: str) -> str:
    """Ask for a lease through networkd, by a file that does not outlive this boot."""
    trial = _trial_file(device)
    trial.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(trial, persist.render_dhcp(device), mode=persist.MODE)
    if not persist.reload():
        raise StepFailed(_("systemd-networkd does not run, so nothing can ask for an address"))
    return bridge.wait_for_address(device)


def _trial_file(device: str) -> Path:
    """In /run and first by name: it wins over the lasting file and is gone after a power cut."""
    return paths.at(f"/run/systemd/network/10-blockhost-trial-{device}.network")


def _device(plan: NetworkPlan) -> str:
    """Where the address belongs: a card that is a port of the bridge has its address there."""
    if plan.interface:
        named = state.read_interface(plan.interface)
        return (named.master if named is not None else None) or plan.interface
    if name := bridge.existing_bridge():
        return name
    routes = state.default_routes()
    if not routes:
        raise StepFailed(
            _("this machine has no default route, so the interface has to be named"),
            hint=_("Choose an interface on the network page"),
        )
    return str(routes[0]["dev"])


def _is_in_place(plan: NetworkPlan, device: str) -> bool:
    assert plan.address is not None
    wanted = {"local": str(plan.address.ip), "prefixlen": plan.address.network.prefixlen}
    now = state.read_interface(device)
    has_gateway = plan.gateway is None or (now is not None and str(plan.gateway) in now.gateways())
    return state.has_address(wanted, device) and has_gateway and now is not None and not now.has_lease


def _is_overdue(note: Note) -> bool:
    late = note.deadline is not None and boot_clock.seconds() >= note.deadline
    return late or not note.is_of_this_boot


def _arm_timer(seconds: float) -> None:
    """Have systemd take the change back if we cannot; without systemd, the next start does it."""
    if command.find("systemd-run") is None or not persist.has_networkd():
        return
    _disarm_timer()
    command.run(
        [
            *("systemd-run", "--quiet", "--collect", f"--unit={TIMER}", f"--on-active={seconds:.0f}s"),
            *(
                "--working-directory=/usr/lib/blockhost",
                "/usr/bin/python3",
                "-m",
                "installer.network",
                "revert",
            ),
        ]
    )


def _disarm_timer() -> None:
    if command.find("systemctl") is not None:
        try:
            command.probe(["systemctl", "stop", f"{TIMER}.timer"], timeout=15)
        except CommandFailed:
            return


def _parse_address(address: str, netmask: str) -> IPv4Interface | IPv6Interface:
    if not address:
        raise AnswerError("address", _("an address is needed, such as 192.168.1.20"))
    if "/" in address and netmask:
        same = _with_mask(address.partition("/")[0], netmask)
        if same is None or str(same) != str(_with_mask(*address.split("/", 1))):
            raise AnswerError(
                "netmask", _("{mask!r} is not the length given with the address").format(mask=netmask)
            )
    bare, _slash, length = address.partition("/")
    try:
        plain = ipaddress.ip_address(bare)
    except ValueError:
        raise AnswerError("address", _("{value!r} is not an IP address").format(value=address)) from None
    if not (length or netmask):
        raise AnswerError("netmask", _("a netmask is needed, such as 255.255.255.0 or 24"))
    own = _with_mask(bare, length or netmask)
    if own is None:
        field = "address" if length else "netmask"
        raise AnswerError(
            field, _("{value!r} is not a netmask for {address}").format(value=length or netmask, address=bare)
        )
    if plain.is_loopback or plain.is_multicast or plain.is_unspecified or plain.is_link_local:
        raise AnswerError("address", _("{address} cannot be this host's address").format(address=bare))
    if own.version == 4 and own.network.prefixlen < 31 and own.ip in (own.network[0], own.network[-1]):
        raise AnswerError(
            "address", _("{address} is the network's own or its broadcast address").format(address=bare)
        )
    return own


def _with_mask(address: str, mask: str) -> IPv4Interface | IPv6Interface | None:
    try:
        own = ipaddress.ip_interface(f"{address}/{mask}")
    except ValueError:
        return None
    # ipaddress also reads 0.0.0.255 as a host mask, and /0 reaches nobody.
    is_host_mask = "." in mask and str(own.netmask) != mask
    return None if is_host_mask or own.network.prefixlen == 0 else own


def _parse_gateway(text: str, own: IPv4Interface | IPv6Interface) -> IPv4Address | IPv6Address | None:
    if not text:
        return None
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise AnswerError("gateway", _("{value!r} is not an IP address").format(value=text)) from None
    if found == own.ip:
        raise AnswerError("gateway", _("{gateway} is this host's own address").format(gateway=found))
    if found not in own.network and not (found.version == own.version == 6 and found.is_link_local):
        raise AnswerError(
            "gateway",
            _("{gateway} is not in the network {network}").format(gateway=found, network=own.network),
        )
    return found


def _parse_dns(given: str | Sequence[str]) -> tuple[IPv4Address | IPv6Address, ...]:
    words = given.split(",") if isinstance(given, str) else given
    servers = []
    for word in (word.strip() for word in words):
        if not word:
            continue
        try:
            servers.append(ipaddress.ip_address(word))
        except ValueError:
            raise AnswerError("dns", _("{value!r} is not an IP address").format(value=word)) from None
    return tuple(dict.fromkeys(servers))


def parse_fields(fields: Mapping[str, Any]) -> NetworkPlan:
    """A plan from a mapping with the form's names; what else is in it does not count."""
    known = ("method", "interface", "address", "netmask", "gateway", "dns")
    return NetworkPlan.parse(**{"method": "", **{key: fields[key] for key in known if fields.get(key)}})
