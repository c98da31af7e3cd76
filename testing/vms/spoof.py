"""Runs in a guest, as root: sends frames that are not its to send, each with a mark at its end.

`spoof.py INTERFACE VICTIM_MAC GATEWAY4 VICTIM4 GATEWAY6 VICTIM6 ROUTER_MAC`; frames called `own-…`
must pass.
"""

import fcntl
import ipaddress
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ALL, NODES = b"\xff" * 6, bytes.fromhex("333300000001")
NODES6 = "ff02::1"
SIOCGIFADDR, SIOCGIFHWADDR = 0x8915, 0x8927


def mark(name: str) -> bytes:
    """What the watchers look for: as an option of neighbour discovery, which is data to all else."""
    text = f"<mark:{name}>".encode()
    units = (len(text) + 2 + 7) // 8
    return bytes([253, units]) + text.ljust(units * 8 - 2, b"\0")


def checksum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ethernet(target: bytes, source: bytes, kind: int, body: bytes) -> bytes:
    return target + source + struct.pack(">H", kind) + body


def arp(operation: int, sender_mac: bytes, sender: str, target_mac: bytes, target: str) -> bytes:
    addresses = [socket.inet_aton(address) for address in (sender, target)]
    return (
        struct.pack(">HHBBH", 1, 0x0800, 6, 4, operation)
        + sender_mac
        + addresses[0]
        + target_mac
        + addresses[1]
    )


def ipv4(source: str, target: str, port_from: int, port_to: int, data: bytes) -> bytes:
    udp = struct.pack(">HHHH", port_from, port_to, 8 + len(data), 0) + data
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0)
    head += socket.inet_aton(source) + socket.inet_aton(target)
    return head[:10] + struct.pack(">H", checksum(head)) + head[12:] + udp


def ipv6(source: str, target: str, header: int, body: bytes) -> bytes:
    packed = [ipaddress.IPv6Address(address).packed for address in (source, target)]
    return struct.pack(">IHBB", 6 << 28, len(body), header, 255) + packed[0] + packed[1] + body


def icmp6(source: str, target: str, body: bytes, before: str = "") -> bytes:
    pseudo = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(target).packed
    pseudo += struct.pack(">IBBBB", len(body), 0, 0, 0, 58)
    body = body[:2] + struct.pack(">H", checksum(pseudo + body)) + body[4:]
    if before == "hop-by-hop":
        return ipv6(source, target, 0, struct.pack(">BB", 58, 0) + b"\1\4" + bytes(4) + body)
    if before == "fragment":
        return ipv6(source, target, 44, struct.pack(">BBHI", 58, 0, 1, 7) + body)
    return ipv6(source, target, 58, body)


def udp6(source: str, target: str, port_from: int, port_to: int, data: bytes) -> bytes:
    udp = struct.pack(">HHHH", port_from, port_to, 8 + len(data), 0) + data
    pseudo = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(target).packed
    pseudo += struct.pack(">IBBBB", len(udp), 0, 0, 0, 17)
    return ipv6(source, target, 17, udp[:6] + struct.pack(">H", checksum(pseudo + udp)) + udp[8:])


def neighbour(kind: int, about: str, mac: bytes, option: int) -> bytes:
    flags = 0x20000000 if kind == 136 else 0
    return (
        struct.pack(">BBHI", kind, 0, 0, flags)
        + ipaddress.IPv6Address(about).packed
        + bytes([option, 1])
        + mac
    )


Make = Callable[[bytes], bytes]


def frames(own: dict[str, str], own_mac: bytes, other: dict[str, str]) -> Iterator[tuple[str, bytes]]:
    """Each with its name, and the name in it; `own` and `other` are addresses by what they are."""
    victim_mac, router_mac = (bytes.fromhex(other[name].replace(":", "")) for name in ("victim", "router"))
    for name, kind, source, target, make in (
        *arp_frames(own, own_mac, other, victim_mac, router_mac),
        *ipv4_frames(own, own_mac, other, victim_mac, router_mac),
        *ipv6_frames(own, own_mac, other, router_mac),
        ("own-end", 0x0806, own_mac, ALL, before(arp(1, own_mac, own["ipv4"], bytes(6), other["gateway4"]))),
    ):
        yield name, ethernet(target, source, kind, make(mark(name)))


def before(packet: bytes) -> Make:
    return lambda m: packet + m


def in_ipv4(sender: str, receiver: str, ports: tuple[int, int], data: bytes) -> Make:
    return lambda m: ipv4(sender, receiver, *ports, data + m)


def in_udp6(sender: str, receiver: str, ports: tuple[int, int]) -> Make:
    return lambda m: udp6(sender, receiver, *ports, m)


def in_icmp6(sender: str, body: bytes, header: str) -> Make:
    return lambda m: icmp6(sender, NODES6, body + m, header)


Kind = tuple[str, int, bytes, bytes, Make]


def arp_frames(
    own: dict[str, str], mac: bytes, other: dict[str, str], victim: bytes, router: bytes
) -> Iterator[Kind]:
    own4, gateway4, victim4 = own["ipv4"], other["gateway4"], other["victim4"]
    for name, target, operation, sender_mac, sender, about in (
        ("own-arp", ALL, 1, mac, own4, gateway4),
        ("arp-gateway", ALL, 2, mac, gateway4, gateway4),
        ("arp-victim", router, 2, mac, victim4, gateway4),
        ("arp-foreign-mac", ALL, 2, victim, own4, own4),
        ("arp-probe-of-victim", ALL, 1, mac, "0.0.0.0", victim4),
    ):
        yield name, 0x0806, mac, target, before(arp(operation, sender_mac, sender, bytes(6), about))
    for name, kind, target in (
        ("spanning-tree", 0x88CC, bytes.fromhex("0180c2000000")),
        ("unknown-protocol", 0x88B5, ALL),
    ):
        yield name, kind, mac, target, lambda m: m.ljust(46, b"\0")


def ipv4_frames(
    own: dict[str, str], mac: bytes, other: dict[str, str], victim: bytes, router: bytes
) -> Iterator[Kind]:
    own4, gateway4, victim4 = own["ipv4"], other["gateway4"], other["victim4"]
    dhcp = b"\2\1\6\0" + bytes(236) + bytes.fromhex("63825363350102ff")
    for name, source, target, sender, receiver, ports, data in (
        ("own-ipv4", mac, router, own4, gateway4, (4000, 4001), b""),
        ("mac", victim, ALL, own4, "255.255.255.255", (4000, 4001), b""),
        ("ipv4-gateway", mac, router, gateway4, victim4, (4000, 4001), b""),
        ("ipv4-victim", mac, router, victim4, gateway4, (4000, 4001), b""),
        ("dhcp-offer", mac, ALL, own4, "255.255.255.255", (67, 68), dhcp),
        ("dhcp-discover", mac, ALL, "0.0.0.0", "255.255.255.255", (68, 67), dhcp),
    ):
        yield name, 0x0800, source, target, in_ipv4(sender, receiver, ports, data)
    tagged = ipv4(victim4, gateway4, 4000, 4001, b"")
    yield "vlan", 0x8100, mac, ALL, before(b"\0\7\x08\0" + tagged)


def ipv6_frames(own: dict[str, str], mac: bytes, other: dict[str, str], router: bytes) -> Iterator[Kind]:
    own6, local, victim6, gateway6 = own["ipv6"], own["link-local"], other["victim6"], other["gateway6"]
    for name, target, sender, receiver, ports in (
        ("own-ipv6", router, own6, gateway6, (4000, 4001)),
        ("ipv6-victim", router, victim6, gateway6, (4000, 4001)),
        ("dhcpv6-advertise", NODES, local, NODES6, (547, 546)),
    ):
        yield name, 0x86DD, mac, target, in_udp6(sender, receiver, ports)
    advert = struct.pack(">BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + b"\1\1" + mac
    redirect = struct.pack(">BBHI", 137, 0, 0, 0) + ipaddress.IPv6Address(own6).packed * 2
    for name, sender, body, header in (
        ("ra", local, advert, ""),
        ("ra-behind-hop-by-hop", local, advert, "hop-by-hop"),
        ("ra-in-a-fragment", local, advert, "fragment"),
        ("icmpv6-fragment", local, struct.pack(">BBHHH", 128, 0, 0, 1, 1), "fragment"),
        ("redirect", local, redirect, ""),
        ("na-victim", own6, neighbour(136, victim6, mac, 2), ""),
        ("na-gateway", own6, neighbour(136, gateway6, mac, 2), ""),
        ("ns-from-victim", victim6, neighbour(135, gateway6, mac, 1), ""),
        ("dad-of-victim", "::", neighbour(135, victim6, mac, 1)[:24], ""),
    ):
        yield name, 0x86DD, mac, NODES, in_icmp6(sender, body, header)


def main() -> None:
    interface, *addresses = sys.argv[1:8]
    names = ("victim", "gateway4", "victim4", "gateway6", "victim6", "router")
    other = dict(zip(names, addresses, strict=True))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        request = struct.pack("256s", interface.encode())
        own_mac = fcntl.ioctl(asking, SIOCGIFHWADDR, request)[18:24]
        own = {"ipv4": socket.inet_ntoa(fcntl.ioctl(asking, SIOCGIFADDR, request)[20:24])}
    for line in Path("/proc/net/if_inet6").read_text().splitlines():
        words = line.split()
        if words[5] == interface:
            address = str(ipaddress.IPv6Address(bytes.fromhex(words[0])))
            own["link-local" if address.startswith("fe80") else "ipv6"] = address
    sent = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
        sender.bind((interface, 0))
        for name, frame in frames(own, own_mac, other):
            sender.send(frame)
            sent.append(name)
    print(" ".join(sent))


main()
