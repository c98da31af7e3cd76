"""QEMU's control protocol: one command at a time, as JSON lines over a Unix socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from blockhost.errors import BlockhostError

TIMEOUT_S = 30.0


class Qmp:
    """One connection to a running QEMU."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(TIMEOUT_S)
        self._connection = connection
        self._lines = connection.makefile("r", encoding="utf-8")
        self._read()  # the greeting
        self.execute("qmp_capabilities")

    def execute(self, name: str, **arguments: object) -> Any:
        """Run one command and return its result.

        Raises:
            BlockhostError: QEMU refused it, or is gone.
        """
        request = {"execute": name, "arguments": arguments}
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        while True:
            reply = self._read()
            if "error" in reply:
                raise BlockhostError(f"QEMU refused {name}: {reply['error'].get('desc')}")
            if "return" in reply:  # anything else is an event
                return reply["return"]

    def close(self) -> None:
        """Hang up."""
        self._lines.close()
        self._connection.close()

    def _read(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise BlockhostError("QEMU has ended")
        document: dict[str, Any] = json.loads(line)
        return document
