"""What a neighbour of a container gets to see: ports, tried from the router's side of its cable."""

from __future__ import annotations

import subprocess

from testing.integration.nspawn import ADDRESS, PATH, Appliance

#: Listens on every port it is told, so that a closed one is the firewall's doing.
LISTENER = """
import socket, sys, time
servers = [socket.create_server(("", int(port))) for port in sys.argv[1:]]
time.sleep(9999)
"""


def listen(machine: Appliance, *ports: int) -> None:
    """Have a program in the machine wait for visitors on these ports, until the machine stops."""
    machine.write_file("/run/listener.py", LISTENER)
    words = [str(port) for port in ports]
    machine.run(["systemd-run", "--unit=listener", "/usr/bin/python3", "-I", "/run/listener.py", *words])
    machine.wait_for(lambda: f":{words[-1]}" in machine.run(["ss", "-Hltn"]), "listener")


def is_open(machine: Appliance, port: int) -> bool:
    """Whether the router gets through to a port of the machine."""
    script = f"import socket; socket.create_connection(('{ADDRESS}', {port}), 1)"
    return at_router(machine, script).returncode == 0


def at_router(machine: Appliance, script: str) -> subprocess.CompletedProcess[bytes]:
    """Run Python on the other end of the machine's cable."""
    assert machine._nspawn is not None
    argv = ["nsenter", f"--target={machine._nspawn.pid}", "--net", "/usr/bin/python3", "-c", script]
    return subprocess.run(argv, env={"PATH": PATH}, capture_output=True, check=False)
