"""Both ends of test_firewall_rules.py, run inside its network namespaces.

    listen FILE PORT…              on TCP and UDP; datagrams that arrive are noted in FILE
    try SECONDS KIND,ADDRESS,PORT…  print what can be reached: tcp by a greeting, udp says nothing
    say ADDRESS PORT SOURCE_PORT TEXT   one datagram

Several say or try at once would be seen only once each, so all tries share one deadline.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys
import time
from pathlib import Path

GROUP4, GROUP6 = "224.0.0.251", "ff02::fb"


def listen(file: str, *ports: str) -> None:
    selector = selectors.DefaultSelector()
    for port in map(int, ports):
        tcp = socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        selector.register(tcp, selectors.EVENT_READ)
        for family, wildcard in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            udp = socket.socket(family, socket.SOCK_DGRAM)
            if family == socket.AF_INET6:
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            udp.bind((wildcard, port))
            if port == 5353:
                join(udp, family)
            selector.register(udp, selectors.EVENT_READ)
    with Path(file).open("a") as notes:
        print("ready", file=notes, flush=True)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj.type == socket.SOCK_STREAM:
                    connection, _ = key.fileobj.accept()
                    connection.sendall(b"hello")
                    connection.close()
                else:
                    print(key.fileobj.recv(100).decode(), file=notes, flush=True)


def join(udp: socket.socket, family: int) -> None:
    index = socket.if_nametoindex("eth0")
    if family == socket.AF_INET:
        request = socket.inet_aton(GROUP4) + struct.pack("@ii", 0, index)
        udp.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
    else:
        request = socket.inet_pton(socket.AF_INET6, GROUP6) + struct.pack("@i", index)
        udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)


def try_all(seconds: str, *places: str) -> None:
    selector, reached = selectors.DefaultSelector(), []
    for place in places:
        address, port = place.split(",")
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        connection.setblocking(False)
        connection.connect_ex((address, int(port)))
        selector.register(connection, selectors.EVENT_READ, place)
    deadline = time.monotonic() + float(seconds)
    while selector.get_map() and (left := deadline - time.monotonic()) > 0:
        for key, _ in selector.select(left):
            selector.unregister(key.fileobj)
            assert isinstance(key.fileobj, socket.socket)
            try:
                if key.fileobj.recv(5) == b"hello":
                    reached.append(key.data)
            except OSError:
                pass
    print(json.dumps(sorted(reached)))


def say(address: str, port: str, source_port: str, text: str) -> None:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"r0")
        udp.bind(("", int(source_port)))
        udp.sendto(text.encode(), (address, int(port)))


if __name__ == "__main__":
    {"listen": listen, "try": try_all, "say": say}[sys.argv[1]](*sys.argv[2:])
