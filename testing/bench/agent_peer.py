"""What the root agent's speed is compared with: a bare JSON echo on a Unix socket, for many clients.

No identity, no limits, no schema, no log: what is left is a socket, JSON and Python.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import sys

_HEADER = struct.Struct(">I")


def serve(path: str) -> None:
    """Answer each frame with the `params` in it, until killed."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(1024)
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                selector.register(listener.accept()[0], selectors.EVENT_READ)
                continue
            assert isinstance(key.fileobj, socket.socket)
            data = key.fileobj.recv(65540)
            if not data:
                selector.unregister(key.fileobj)
                key.fileobj.close()
                continue
            (length,) = _HEADER.unpack_from(data)
            answer = json.dumps({**json.loads(data[4 : 4 + length])["params"], "ok": True}).encode()
            key.fileobj.sendall(_HEADER.pack(len(answer)) + answer)


if __name__ == "__main__":
    serve(sys.argv[1])
