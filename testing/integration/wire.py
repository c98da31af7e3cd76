"""A host and a router in two network namespaces of their own, with a wire between them.

Nothing outside them is touched. networkd is not there: its programs are stand-ins that say so.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
IP = "/usr/sbin/ip"

if os.geteuid() != 0:
    pytest.fail("network namespaces need root: run the tests as root", pytrace=False)

#: Runs one function of ours in the host namespace. KILL_RENAME=n ends it after its n-th rename.
DRIVER = """
import json, os, signal, sys
left = int(os.environ.get("KILL_RENAME", 0))
rename = os.rename
def counted(*arguments, **options):
    global left
    rename(*arguments, **options)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
os.rename = counted
import importlib
from blockhost.errors import BlockhostError
from installer.network import address, gateway
gateway.DEADLINE_S = 1.5
module, function = sys.argv[1].split(":")
arguments = json.loads(sys.argv[2])
if "plan" in arguments:
    arguments["plan"] = address.parse_fields(arguments["plan"])
try:
    answer = getattr(importlib.import_module(f"installer.network.{module}"), function)(**arguments)
    print(json.dumps({"answer": answer.to_json() if hasattr(answer, "to_json") else answer}))
except BlockhostError as error:
    print(json.dumps({"error": str(error), "hint": error.hint}))
"""

#: Counts the commands that change something, and ends its caller after the n-th: a crash there.
KILLER = """#!/bin/sh
/usr/sbin/ip "$@"
code=$?
case "$1" in -j) exit $code ;; esac
echo "$*" >> "$IP_LOG"
[ "$(wc -l < "$IP_LOG")" = "$KILL_IP" ] && kill -9 "$PPID"
exit $code
"""


class Wire:
    """The two namespaces, and what a test does with them."""

    def __init__(self, root: Path) -> None:
        tag = secrets.token_hex(3)
        self.host, self.router = f"bh-{tag}-host", f"bh-{tag}-rtr"
        self.root = root / "root"
        self.bin = root / "bin"
        self.log = root / "ip.log"
        self.root.mkdir()
        self.bin.mkdir()
        self.program("ip", KILLER)
        self.program("systemctl", "#!/bin/sh\nexit 3\n")
        self.program("networkctl", '#!/bin/sh\necho "$*" >> "$IP_LOG.networkctl"\n')

    def program(self, name: str, text: str) -> None:
        (self.bin / name).write_text(text)
        (self.bin / name).chmod(0o755)

    def create(self) -> None:
        for name in (self.host, self.router):
            subprocess.run([IP, "netns", "add", name], check=True)
            subprocess.run([IP, "-n", name, "link", "set", "lo", "up"], check=True)
            # Whether duplicate address detection runs is a test's choice; a second each adds up.
            self.sysctl(name, "net.ipv6.conf.default.accept_dad=0")
        self.on_host("link add eth0 type veth peer name r0 netns", self.router)
        self.on_host("link set eth0 up")
        self.on_router("link set r0 up")

    def destroy(self) -> None:
        for name in (self.host, self.router):
            subprocess.run([IP, "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    def sysctl(self, namespace: str, setting: str) -> None:
        subprocess.run([IP, "netns", "exec", namespace, "sysctl", "-qw", setting], check=True)

    def on_host(self, *words: str) -> None:
        subprocess.run([IP, "-n", self.host, *" ".join(words).split()], check=True)

    def on_router(self, *words: str) -> None:
        subprocess.run([IP, "-n", self.router, *" ".join(words).split()], check=True)

    def firewall(self, rules: str) -> None:
        """nftables rules in the router."""
        subprocess.run([IP, "netns", "exec", self.router, "nft", "-f", "-"], input=rules.encode(), check=True)

    def call(
        self, function: str, arguments: dict[str, Any] | None = None, **environment: str
    ) -> dict[str, Any] | None:
        """Run a function of `installer.network` (`module:function`); None when it was killed."""
        self.log.write_text("")
        done = subprocess.run(
            [
                IP,
                "netns",
                "exec",
                self.host,
                sys.executable,
                "-c",
                DRIVER,
                function,
                json.dumps(arguments or {}),
            ],
            env={
                "PATH": SYSTEM_PATH,
                "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'packages/common'}",
                "PYTHONDONTWRITEBYTECODE": "1",
                "BLOCKHOST_ROOT": str(self.root),
                "BLOCKHOST_PATH": f"{self.bin}:{SYSTEM_PATH}",
                "IP_LOG": str(self.log),
                "KILL_IP": "0",
                **environment,
            },
            capture_output=True,
            timeout=100,
        )
        if done.returncode < 0 or done.returncode == 137:
            return None
        assert done.returncode == 0, done.stderr.decode()
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def show(self, namespace: str, *words: str) -> list[dict[str, Any]]:
        done = subprocess.run([IP, "-n", namespace, "-j", *words], check=True, capture_output=True)
        return [entry for entry in json.loads(done.stdout or b"[]") if entry]

    def picture(self) -> dict[str, Any]:
        """Everything that must be the same before and after, without what counts down."""
        found = {
            "link": self.show(self.host, "-d", "link"),
            "addr": self.show(self.host, "addr"),
            "route4": self.show(self.host, "-4", "route", "show", "table", "all"),
            "route6": self.show(self.host, "-6", "route", "show", "table", "all"),
        }
        text = json.dumps(found)
        fleeting = {"expires", "valid_life_time", "preferred_life_time"}
        lifetime = 4294967295

        def settle(value: Any) -> Any:
            if isinstance(value, dict):
                return {
                    key: ("counting" if key in fleeting and item != lifetime else settle(item))
                    for key, item in value.items()
                    if not key.endswith("_timer")
                }
            return [settle(item) for item in value] if isinstance(value, list) else value

        return dict(settle(json.loads(text)))

    def reaches(self, address: str) -> bool:
        """The router reaches this address of the host."""
        done = subprocess.run(
            [IP, "netns", "exec", self.router, "ping", "-n", "-c", "1", "-W", "2", address],
            check=False,
            stdout=subprocess.DEVNULL,
        )
        return done.returncode == 0

    def file(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def addresses(self, device: str) -> list[str]:
        links = self.show(self.host, "addr", "show", "dev", device)
        return [
            f"{address['local']}/{address['prefixlen']}"
            for address in links[0]["addr_info"]
            if address["scope"] != "link"
        ]

    def default_routes(self) -> list[dict[str, Any]]:
        return self.show(self.host, "route", "show", "default")


def silence(wire: Wire) -> None:
    """The router still has a link, and says nothing any more."""
    wire.firewall(
        "table netdev silent { chain in { type filter hook ingress device r0 priority 0; drop; }; }"
    )


def wait_until(holds: Callable[[], bool], deadline_s: float = 10.0) -> None:
    deadline = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
