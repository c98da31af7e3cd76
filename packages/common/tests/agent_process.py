"""The agent as a process of a test: how it is started, asked, watched and stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
COMMON = HERE.parent
MOST_MEMORY_KIB = 64 * 1024


class Agent:
    """A running agent and its files."""

    def __init__(
        self, root: Path, actions: Sequence[Path] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        self.root = root
        self.socket = root / "run/blockhost/root-agent.sock"
        self.log = root / "var/log/blockhost-agent.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        files = actions or [installed_probe(root)]
        options = [word for file in files for word in ("--actions", str(file))]
        env = {**os.environ, "PYTHONPATH": str(COMMON), "BLOCKHOST_ROOT": str(root), **(environment or {})}
        self.process_environment = env
        with (root / "agent.err").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "blockhost.root_agent", *options],
                env=env, cwd=root, stderr=output,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                self.connect().close()
                return
            except OSError:
                assert self.process.poll() is None, (root / "agent.err").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.02)

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        try:
            connection.connect(str(self.socket))
        except OSError:
            connection.close()
            raise
        return connection

    def entries(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def memory_kib(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmRSS")))

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


def installed_probe(root: Path) -> Path:
    """The actions of the agent's own tests."""
    return installed(root, HERE / "agent_probe_actions.py")


def installed(root: Path, source: Path) -> Path:
    """An action module with the modes of an installed package."""
    directory = root / "actions"
    directory.mkdir(mode=0o755, exist_ok=True)
    file = directory / source.name
    file.write_bytes(source.read_bytes())
    file.chmod(0o644)
    return file


def frame(payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + payload


def answer_of(connection: socket.socket) -> dict[str, Any] | None:
    """One answer, or None when the agent closed the connection."""
    try:
        header = connection.recv(4, socket.MSG_WAITALL)
        if len(header) < 4:
            return None
        body = connection.recv(struct.unpack(">I", header)[0], socket.MSG_WAITALL)
    except ConnectionResetError:
        return None
    return json.loads(body)  # type: ignore[no-any-return]
