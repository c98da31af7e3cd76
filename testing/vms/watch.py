"""Runs beside the guests: prints the marks of frames that arrive at an interface, until its input ends.

`watch.py INTERFACE`
"""

import re
import selectors
import socket
import sys

ALL_PROTOCOLS = 0x0003


def main() -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL_PROTOCOLS)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
        listener.bind((sys.argv[1], ALL_PROTOCOLS))
        print("ready", flush=True)
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            selector.register(sys.stdin, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is sys.stdin:
                        return
                    for mark in re.findall(rb"<mark:([a-z0-9-]+)>", listener.recv(65536)):
                        print(mark.decode(), flush=True)


main()
