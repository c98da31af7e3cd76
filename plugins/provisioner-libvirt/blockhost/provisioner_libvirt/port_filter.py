"""What a machine may put on the bridge: nftables rules in the bridge family, one chain a machine.

A frame from a machine passes only with its own MAC, IPv4 and IPv6 address, in ARP and neighbour
discovery too; it is no router (RA, redirect) and no DHCP server. A tap device of ours that has no
chain passes nothing. libvirt's own `clean-traffic` drops all IPv6 and cannot look into neighbour
discovery (docs/decisions/0010).

libvirt's hook applies this before every start of a machine, whoever starts it; applying it twice
is fine. Rates are limited here too: it works on every kernel, for both directions alike.
"""

from __future__ import annotations

import ipaddress

from blockhost.command import probe, run
from blockhost.errors import CommandFailed
from blockhost.provisioner_libvirt.port import TAPS, Port

TABLE = "blockhost_vms"
_MISSING = "No such file or directory"

_FRAME = f"""\
add table bridge {TABLE}
add map bridge {TABLE} machines {{ type ifname : verdict; }}
add map bridge {TABLE} towards {{ type ifname : verdict; }}
add chain bridge {TABLE} prerouting {{ type filter hook prerouting priority -300; policy accept; }}
flush chain bridge {TABLE} prerouting
add rule bridge {TABLE} prerouting iifname vmap @machines
add rule bridge {TABLE} prerouting iifname "{TAPS}*" drop
add chain bridge {TABLE} postrouting {{ type filter hook postrouting priority 0; policy accept; }}
flush chain bridge {TABLE} postrouting
add rule bridge {TABLE} postrouting oifname vmap @towards
"""


def apply(port: Port) -> None:
    """Let this machine send what is its own, and nothing else. One transaction; repeating is fine."""
    run(["nft", "-f", "-"], stdin=rules(port))


def remove(tap: str) -> None:
    """Forget a machine's chains; missing ones are fine."""
    for what in (
        ("element", "machines", f"{{ {tap} }}"),
        ("element", "towards", f"{{ {tap} }}"),
        ("chain", tap),
        ("chain", f"{tap}-in"),
    ):
        kind, *rest = what
        done = probe(["nft", "delete", kind, "bridge", TABLE, *rest])
        if done.code != 0 and _MISSING not in done.stderr:
            raise CommandFailed("nft", done.code, done.stderr)


def is_applied(tap: str) -> bool:
    """Whether a machine's chain is there."""
    return probe(["nft", "list", "chain", "bridge", TABLE, tap]).code == 0


def rules(port: Port) -> str:
    """The transaction that `apply` hands to nft."""
    tap = port.tap
    lines = [_FRAME]
    for chain, body in ((tap, _outgoing(port)), (f"{tap}-in", _limit(port.kbps_in))):
        lines += [f"add chain bridge {TABLE} {chain}", f"flush chain bridge {TABLE} {chain}"]
        lines += [f"add rule bridge {TABLE} {chain} {rule}" for rule in body]
    # Elements last: from then on the rules count.
    lines += [
        f"add element bridge {TABLE} machines {{ {tap} : goto {tap} }}",
        f"add element bridge {TABLE} towards {{ {tap} : jump {tap}-in }}",
    ]
    return "\n".join(lines) + "\n"


def _outgoing(port: Port) -> list[str]:
    return [
        f"ether saddr != {port.mac} drop",
        *_arp(port),
        *_ipv4(port),
        *(_ipv6(port) if port.ipv6 else []),
        *_limit(port.kbps_out),
        f"ether type {'{ ip, ip6 }' if port.ipv6 else 'ip'} accept",
        "drop",  # VLAN tags, spanning tree and whatever else there is
    ]


def _arp(port: Port) -> list[str]:
    return [
        "arp htype != 1 drop",
        "arp ptype != ip drop",
        "arp hlen != 6 drop",
        "arp plen != 4 drop",
        "arp operation != { request, reply } drop",
        f"arp saddr ether != {port.mac} drop",
        # A guest asks so whether its address is free before it takes it (RFC 5227).
        f"arp operation request arp saddr ip 0.0.0.0 arp daddr ip {port.ipv4} accept",
        f"arp saddr ip != {port.ipv4} drop",
        "ether type arp accept",
    ]


def _ipv4(port: Port) -> list[str]:
    return ["ether type ip udp sport 67 drop", f"ip saddr != {port.ipv4} drop"]


def _ipv6(port: Port) -> list[str]:
    own = f"{{ {port.ipv6}, {port.link_local} }}"
    targets = f"{{ {_number(port.ipv6)}, {_number(port.link_local)} }}"
    return [
        # Nobody looks into a later fragment (RFC 7113), so none of ICMPv6 passes.
        "meta l4proto ipv6-icmp exthdr frag exists drop",
        "icmpv6 type { nd-router-advert, nd-redirect } drop",
        "ether type ip6 udp sport 547 drop",
        # Bytes 8 to 23 of both messages are the address that they are about (RFC 4861, 4.3 and 4.4).
        f"icmpv6 type nd-neighbor-advert @th,64,128 != {targets} drop",
        f"ip6 saddr :: icmpv6 type nd-neighbor-solicit @th,64,128 {targets} accept",
        f"ip6 saddr != {own} drop",
    ]


def _limit(kbps: int) -> list[str]:
    """Drop what exceeds a rate. A tenth of a second may come at once, and never less than 32 frames."""
    if not kbps:
        return []
    rate = max(kbps * 1000 // 8, 1)
    return [f"limit rate over {rate} bytes/second burst {max(rate // 10, 48_000)} bytes drop"]


def _number(address: str) -> str:
    return f"{int(ipaddress.IPv6Address(address)):#034x}"
