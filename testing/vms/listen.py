"""Runs on the host: listens at the ports given, IPv4 and IPv6, until its input ends."""

import contextlib
import socket
import sys

with contextlib.ExitStack() as stack:
    for port in sys.argv[1:]:
        listener = stack.enter_context(
            socket.create_server(("::", int(port)), family=socket.AF_INET6, dualstack_ipv6=True)
        )
        listener.listen(64)
    print("ready", flush=True)
    sys.stdin.read()
