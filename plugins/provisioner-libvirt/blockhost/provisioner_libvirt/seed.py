"""The NoCloud seed: what cloud-init in the guest reads at its first start."""

from __future__ import annotations

import contextlib
import ipaddress
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from blockhost import paths
from blockhost.command import run
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

MOST_SEED_BYTES = 48 * 1024
#: Name of the interface in the guest. A rename by MAC, because cloud-init's ifupdown renderer
#: turns a match by name pattern into a wrong interface name (found by hand; components.md, 3).
INTERFACE = "lan0"


def meta_data(name: str, instance: str) -> str:
    """Identity of the instance: a new one makes cloud-init run again."""
    return yaml.safe_dump({"instance-id": instance, "local-hostname": name})


def network_config(
    *,
    mac: str,
    address: ipaddress.IPv4Address,
    network: ipaddress.IPv4Network,
    gateway: ipaddress.IPv4Address,
    ipv6: str | None,
    nameservers: Sequence[str],
    ipv6_gateway: str | None = None,
) -> str:
    """Version 2 of cloud-init's network configuration, for one interface found by its MAC.

    IPv6 is routed: the guest has one address, and the host is its way to everywhere.
    """
    # Not `gateway4`, which cloud-init calls deprecated, nor `default`, which Debian 12's does not know.
    routes: list[dict[str, object]] = [{"to": "0.0.0.0/0", "via": str(gateway)}]
    if ipv6 and ipv6_gateway:
        routes.append({"to": "::/0", "via": ipv6_gateway, "on-link": True})
    interface: dict[str, object] = {
        "match": {"macaddress": mac},
        "set-name": INTERFACE,
        "dhcp4": False,
        "addresses": [f"{address}/{network.prefixlen}", *([f"{ipv6}/128"] if ipv6 else [])],
        "routes": routes,
        "nameservers": {"addresses": list(nameservers)},
        # The host routes; what a neighbour advertises must not count.
        "accept-ra": False,
    }
    return yaml.safe_dump({"version": 2, "ethernets": {INTERFACE: interface}}, sort_keys=False)


def checked_user_data(text: str) -> dict[str, object]:
    """The document in `text`.

    Raises:
        BlockhostError: cloud-init would not take it.
    """
    if len(text.encode()) > MOST_SEED_BYTES:
        raise BlockhostError(
            _("the cloud-init content is longer than %(most_seed_bytes)s bytes")
            % {"most_seed_bytes": MOST_SEED_BYTES}
        )
    if not text.startswith("#cloud-config"):
        raise BlockhostError(_("the cloud-init content does not start with #cloud-config"))
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BlockhostError(_("the cloud-init content is not YAML: %(error)s") % {"error": error}) from error
    if not isinstance(document, dict):
        raise BlockhostError(_("the cloud-init content is not a mapping"))
    return document


def first_user(document: Mapping[str, object], default: str) -> str:
    """Whom the owner logs in as."""
    users = document.get("users")
    for user in users if isinstance(users, list) else []:
        if isinstance(user, dict) and isinstance(user.get("name"), str):
            return str(user["name"])
    return default


@contextlib.contextmanager
def seed_image(files: Mapping[str, str]) -> Iterator[Path]:
    """An ISO image with these files, labelled so that cloud-init finds it. Removed afterwards."""
    with tempfile.TemporaryDirectory(prefix="blockhost-seed-") as directory:
        content, image = Path(directory) / "content", Path(directory) / "seed.iso"
        content.mkdir()
        for name, text in files.items():
            (content / name).write_text(text, encoding="utf-8")
        run(
            ["xorriso", "-as", "mkisofs", "-quiet", "-volid", "cidata", "-joliet", "-rational-rock",
             "-o", image, content],
        )  # fmt: skip
        yield image


def link_local(interface: str) -> str | None:
    """The host's own link-local address on an interface: a router whose address never changes."""
    try:
        lines = paths.at("/proc/self/net/if_inet6").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        words = line.split()
        if len(words) == 6 and words[5] == interface and words[0].startswith("fe80"):
            return str(ipaddress.IPv6Address(bytes.fromhex(words[0])))
    return None


def host_nameservers(resolv_conf: Path, fallback: str) -> list[str]:
    """The host's own name servers that a guest can reach, or the gateway."""
    try:
        lines = resolv_conf.read_text(encoding="utf-8").splitlines()
    except OSError:
        return [fallback]
    found = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            with contextlib.suppress(ValueError):
                address = ipaddress.ip_address(words[1])
                if not address.is_loopback and not address.is_link_local:
                    found.append(str(address))
    return found[:3] or [fallback]
