"""Fake PID 1: starts the dry run's nginx outside of any step, as systemd would.

A step's process ends everything that it leaves behind, so a daemon that `systemctl` starts must
not be its child. This little server is started beside the worker; the fake `systemctl` asks it.
`python3 init.py` listens on $BLOCKHOST_ROOT/run/fake-init.sock until it is told to end.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from recorded import root

SOCKET = "run/fake-init.sock"


def place() -> str:
    """Where it listens; a test that replaces its root puts it elsewhere."""
    return os.environ.get("BLOCKHOST_FAKE_INIT") or str(root() / SOCKET)


def ask(argv: list[str], log: Path) -> int | None:
    """Have a program run by the fake init; its exit code, or None where no init listens."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(place())
        except OSError:
            return None
        client.sendall(json.dumps({"argv": argv, "log": str(log)}).encode() + b"\n")
        answer = client.makefile().readline()
    return int(answer or 1)


def main() -> int:
    path = Path(place())
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen(16)
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    while True:
        client, _ = server.accept()
        with client, contextlib.suppress(OSError, ValueError):
            order = json.loads(client.makefile().readline())
            with Path(order["log"]).open("ab") as log:
                done = subprocess.run(
                    order["argv"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=False,
                    start_new_session=True,
                )
            client.sendall(f"{done.returncode}\n".encode())


if __name__ == "__main__":
    raise SystemExit(main())
