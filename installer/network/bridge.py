"""The bridge that VMs join, made as a transaction.

The wired NIC of the default route becomes its port; its MAC, all addresses, routes and metrics
move to the bridge. Unless the gateway then answers, everything is put back exactly. A crash at
any command is taken back, or finished, by `recover` at the next start.
"""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from blockhost import paths
from blockhost.errors import BlockhostError, CommandFailed, StepFailed
from blockhost.files import make_dir, write_atomic
from blockhost.i18n import gettext as _
from installer.network import gateway, journal, persist, state
from installer.network.journal import Note, Phase
from installer.network.state import InterfaceState

log = logging.getLogger(__name__)

BRIDGE = "br0"
KIND = "bridge"
#: How long networkd may take to lease the same address on the bridge.
LEASE_DEADLINE_S = 40.0
POLL_S = 0.2
#: Bridges that others make for NAT inside the machine; no cable leads to them.
INNER_BRIDGES = ("virbr", "docker", "lxcbr", "lxdbr", "incusbr", "cni", "podman")


@dataclass(frozen=True, slots=True)
class BridgePlan:
    """Which NIC becomes the port of which bridge, and who must answer afterwards."""

    nic: str
    bridge: str
    gateways: tuple[str, ...]


def name_file() -> Path:
    """Holds the bridge's name for whoever makes VMs."""
    return paths.run_dir() / "bridge"


def managed_marker() -> Path:
    """Exists when somebody else (Proxmox) looks after the bridge."""
    return paths.config_dir() / "bridge-managed"


def ensure_bridge() -> str:
    """The bridge's name; it is made if there is none. May be repeated at any time.

    Raises:
        StepFailed: it could not be made; the network is as it was.
    """
    recover()
    name = existing_bridge()
    if name is None:
        make_bridge(choose_plan())
        name = BRIDGE
    remember(name)
    return name


def existing_bridge() -> str | None:
    """A bridge that already does the work, ours or somebody else's."""
    bridges = [str(link["ifname"]) for link in state.query("link", "show", "type", "bridge")]
    outer = [name for name in bridges if not name.startswith(INNER_BRIDGES)]
    for name in outer:
        carried = state.read_interface(name)
        if carried is not None and carried.global_ipv4():
            return name
    if BRIDGE in outer and persist.uplink_file().exists():
        return BRIDGE  # ours, still waiting for its lease
    if managed_marker().exists():
        return managed_marker().read_text().strip() or next(iter(outer), BRIDGE)
    return None


def choose_plan() -> BridgePlan:
    """The wired NIC of the best default route.

    Raises:
        StepFailed: there is none; says what was found instead.
    """
    routes = state.default_routes()
    if not routes:
        raise StepFailed(
            _("this machine has no default route, so no network card was chosen for the bridge"),
            hint=_("Plug in a cable, or set an address on the wizard's network page; then restart"),
        )
    name = str(routes[0]["dev"])
    _require_wired(name)
    gateways = tuple(
        dict.fromkeys(
            str(route["gateway"]) for route in routes if route.get("dev") == name and "gateway" in route
        )
    )
    return BridgePlan(name, BRIDGE, gateways)


def make_bridge(plan: BridgePlan) -> None:
    """Move the NIC's whole configuration to a new bridge, or leave everything as it was.

    Raises:
        StepFailed: says why it was taken back.
    """
    before = state.read_interface(plan.nic)
    if before is None:
        raise StepFailed(_("there is no network card {nic}").format(nic=plan.nic))
    if state.exists(plan.bridge):
        raise StepFailed(
            _("{bridge} exists already, but has no address").format(bridge=plan.bridge),
            hint=_("Remove it, or create /etc/blockhost/bridge-managed to keep it as it is"),
        )
    alive = [address for address in plan.gateways if gateway.answers(address, plan.nic)]
    if not alive:
        raise StepFailed(
            _("the gateway {gateways} does not answer on {nic}; nothing was changed").format(
                gateways=", ".join(plan.gateways) or "?", nic=plan.nic
            ),
            hint=_("Check cable, switch port and gateway; then restart"),
        )
    note = journal.write(
        Note(
            kind=KIND,
            before=[before],
            made=[plan.bridge],
            files=journal.snapshot_files(persist.bridge_files(plan.bridge)),
            plan={"nic": plan.nic, "bridge": plan.bridge, "gateways": alive},
        )
    )
    with ExitStack() as undo:
        undo.callback(journal.take_back, note)
        try:
            _move(before, plan.bridge)
            _require_gateways(alive, plan.bridge)
            _finish(journal.keep(note))
        except CommandFailed as error:
            raise StepFailed(
                _("the bridge could not be made, so the network is as it was: {error}").format(error=error)
            ) from error
        undo.pop_all()


def recover() -> None:
    """Settle a change that a crash or a power cut left open; nothing open, nothing done."""
    note = journal.read()
    if note is None or note.kind != KIND:
        return
    log.warning("a change of the network was interrupted (%s)", note.phase)
    if note.phase is Phase.TRYING:
        journal.take_back(note)
        return
    try:
        _finish(note)
    except BlockhostError as error:
        log.warning("it could not be finished, so it is taken back: %s", error)
        journal.take_back(note)


def remember(name: str) -> None:
    """Publish the bridge's name for this boot."""
    make_dir_if_missing(name_file().parent)
    write_atomic(name_file(), name + "\n", mode=0o644)


def remembered() -> str | None:
    """The published name, if its bridge still exists."""
    try:
        name = name_file().read_text().strip()
    except FileNotFoundError:
        return None
    return name if name and state.exists(name) else None


def wait_for_address(device: str) -> str:
    """The IPv4 address that networkd leases for `device`.

    Raises:
        StepFailed: none came in time.
    """
    deadline = time.monotonic() + LEASE_DEADLINE_S
    while True:
        carried = state.read_interface(device)
        if carried is not None and carried.has_lease:
            return carried.global_ipv4()[0].partition("/")[0]
        if time.monotonic() > deadline:
            raise StepFailed(
                _("{device} got no address from the network").format(device=device),
                hint=_("Is there a DHCP server? Otherwise set a static address"),
            )
        time.sleep(POLL_S)


def make_dir_if_missing(directory: Path) -> None:
    if not directory.is_dir():
        make_dir(directory, mode=0o755)


def _require_wired(name: str) -> None:
    link = (state.query("-d", "link", "show", "dev", name) or [{}])[0]
    if paths.at(f"/sys/class/net/{name}/phy80211").exists():
        raise StepFailed(
            _("the default route uses {nic}, a wireless card; access points refuse bridges").format(nic=name),
            hint=_("Plug in a cable and restart"),
        )
    if link.get("link_type") != "ether":
        raise StepFailed(
            _("the default route uses {nic}, which is not an Ethernet card").format(nic=name),
            hint=_("Plug in a cable and restart"),
        )


def _move(nic: InterfaceState, bridge: str) -> None:
    state.ip(
        "link",
        "add",
        "name",
        bridge,
        "address",
        nic.mac,
        "mtu",
        str(nic.mtu),
        "type",
        "bridge",
        "stp_state",
        "0",
    )
    # Where networkd reads the routers' advertisements, the kernel must not read them for the bridge.
    state.copy_setting("accept_ra", nic.name, bridge)
    state.ip("link", "set", "dev", nic.name, "master", bridge)
    moving = [address for address in nic.addresses if state.is_moved(address)]
    # Routes through a link-local router outlive the addresses, so they go first and by name.
    state.delete_routes(nic, nic.name)
    state.ip("-4", "addr", "flush", "dev", nic.name)
    for address in moving:
        if address["family"] == "inet6":
            state.ip("-6", "addr", "del", f"{address['local']}/{address['prefixlen']}", "dev", nic.name)
    state.ip("link", "set", "dev", bridge, "up")
    for address in moving:
        state.add_address(address, bridge)
    state.wait_until_usable(bridge)
    state.add_routes(nic, bridge)


def _finish(note: Note) -> None:
    """Write the proven bridge down for later boots, and hand it to networkd."""
    nic, bridge = note.before[0], str(note.plan["bridge"])
    persist.write_files(persist.render_bridge(bridge, nic))
    if persist.reload() and note.is_of_this_boot:
        _wait_for_lease(nic, bridge)
    remember(bridge)
    journal.clear()


def _wait_for_lease(nic: InterfaceState, bridge: str) -> None:
    """networkd configures the bridge anew, and may lease once more; wait until it has what the NIC had."""
    deadline = time.monotonic() + LEASE_DEADLINE_S
    while True:
        carried = state.read_interface(bridge)
        has_ipv4 = carried is not None and (carried.global_ipv4() or not nic.global_ipv4())
        if carried is not None and has_ipv4 and carried.gateways() and persist.is_settled(bridge):
            _require_gateways(carried.gateways()[:1], bridge)
            return
        if time.monotonic() > deadline:
            raise StepFailed(_("{bridge} got no address from the network").format(bridge=bridge))
        time.sleep(POLL_S)


def _require_gateways(gateways: list[str], device: str) -> None:
    for address in gateways:
        if not gateway.answers(address, device):
            raise StepFailed(
                _("{gateway} does not answer through {bridge}, so the network is as it was").format(
                    gateway=address, bridge=device
                ),
                hint=_("Some switches allow one MAC per port; ask for port security to be relaxed"),
            )
