"""A host for virtual machines after its setup: real libvirt, root agent, database, template, commands.

Everything lies below one folder and in namespaces of its own (`private_libvirt`). Beside the host, on
the same bridge, is a machine of the local network: the namespace `lan`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testing.vms.private_libvirt import PATHS, ROOT, PrivateLibvirt, answers_on, end, wait_for

HOST, LAN, NETWORK = "10.99.0.1", "10.99.0.254", "10.99.0.0/24"
HOST6, LAN6 = "2001:db8:99::1", "2001:db8:98::2"
POOL6 = {"start": "2001:db8:99::100", "end": "2001:db8:99::ffff"}
ANSWERS = {
    "storage_pool": "blockhost",
    "storage_path": "/var/lib/libvirt/images/blockhost",
    "ip_network": NETWORK,
    "ip_start": "10.99.0.10",
    "ip_end": "10.99.0.60",
    "gateway": HOST,
    "gc_grace_days": 7,
}
#: A cable to a neighbour that is no virtual machine, and the way back from behind it.
NETWORK_SETUP = f"""set -e
ip address add {HOST}/24 dev br0
ip -6 address add {HOST6}/128 dev br0 nodad
ip netns add lan
ip link add uplink type veth peer name eth0 netns lan
ip link set uplink master br0 up
ip -n lan link set lo up
ip -n lan link set eth0 up
ip -n lan address add {LAN}/24 dev eth0
ip -n lan -6 address add {LAN6}/64 dev eth0 nodad
ip -6 address add 2001:db8:98::1/64 dev br0 nodad
ip -n lan -6 route add 2001:db8:99::/64 via 2001:db8:98::1
sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.ip_forward=1
"""
FORGET_ROUTES = """ip -6 route show dev br0 | grep '^2001:db8:99::1..' | while read -r route _; do
    ip -6 route del "$route" dev br0
done"""
FINALIZE = """
import json, sys
from blockhost.config_files import DB, update_config
from blockhost.pipeline.context import StepContext
from blockhost.provisioner_libvirt.steps import STEPS
answers, pool6 = json.loads(sys.argv[1])
for step in STEPS:
    context = StepContext(step_id=step.id, config={"provisioner": answers})
    step.apply(context)
    assert step.check(context), step.id
update_config(DB, {"ipv6_pool": pool6})
"""
FIREWALL = ROOT / "packages/common/firewall/base.nft"
#: A guest under emulation, beside others on two processors.
BOOT_S = 600


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended, and how long it took."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    def json(self) -> Any:
        assert self.code == 0, self.stderr
        return json.loads(self.stdout)


@dataclass(slots=True)
class VmHost:
    """Make it with `start`."""

    root: Path
    libvirt: PrivateLibvirt
    _agent: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextlib.contextmanager
    def start(cls, directory: Path, template: Path) -> Iterator[VmHost]:
        """`template` is the folder with the image for machines and its checksum."""
        root = directory / "r"
        environment = {"BLOCKHOST_ROOT": str(root), "BLOCKHOST_DRY_RUN": "1", "PYTHONPATH": PATHS}
        with PrivateLibvirt.start(directory / "v", environment) as libvirt:
            self = cls(root, libvirt, environment=environment)
            self._furnish(template)
            libvirt.run(["sh", "-c", NETWORK_SETUP])
            libvirt.run(["nft", "-f", str(FIREWALL)])
            try:
                self.start_agent()
                self.python("-c", FINALIZE, json.dumps([ANSWERS, POOL6]))
                yield self
            finally:
                self.stop_agent()

    def _furnish(self, template: Path) -> None:
        for part in ("etc/blockhost", "var/lib/blockhost/template", "var/log", "run/blockhost"):
            (self.root / part).mkdir(parents=True)
        (self.root / "run/blockhost/bridge").write_text("br0\n")
        (self.root / "proc").symlink_to("/proc")
        share = self.root / "usr/share/blockhost"
        (share / "root-agent-actions").mkdir(parents=True, mode=0o755)
        (share / "cloud-init").symlink_to(ROOT / "packages/common/cloud-init")
        for part in ("packages/common", "plugins/provisioner-libvirt"):
            for module in (ROOT / part / "root-agent-actions").glob("*.py"):
                (share / "root-agent-actions" / module.name).write_bytes(module.read_bytes())
                (share / "root-agent-actions" / module.name).chmod(0o644)
        for file in template.glob("blockhost-vm.qcow2*"):
            os.link(file, self.root / "var/lib/blockhost/template" / file.name)

    # --- services -------------------------------------------------------------------------

    def start_agent(self) -> None:
        with (self.root / "var/log/agent-output.log").open("ab") as output:
            argv = [sys.executable, "-m", "blockhost.root_agent"]
            self._agent = self.libvirt.popen(argv, self.environment, stdout=output, stderr=output)
        socket = self.root / "run/blockhost/root-agent.sock"
        wait_for(lambda: answers_on(socket), self._agent, "the root agent")

    def stop_agent(self) -> None:
        if self._agent is not None:
            end(self._agent)
            self._agent = None

    def power_cut(self) -> None:
        """What a power cut and the next boot leave of a host: files."""
        self.stop_agent()
        self.libvirt.power_cut()
        self.libvirt.run(["nft", "flush", "ruleset"])
        self.libvirt.run(["sh", "-c", FORGET_ROUTES])

    def boot(self) -> None:
        """The services as systemd starts them."""
        self.libvirt.run(["nft", "-f", str(FIREWALL)])
        self.libvirt.start_libvirtd()
        self.start_agent()

    # --- commands -------------------------------------------------------------------------

    def popen(self, command: str, *words: object) -> subprocess.Popen[bytes]:
        """Start a command of ours (`create`, `list`, …)."""
        module = f"blockhost.provisioner_libvirt.cli.{command.replace('-', '_')}"
        argv = [sys.executable, "-m", module, *map(str, words)]
        pipe = subprocess.PIPE
        return self.libvirt.popen(argv, self.environment, stdout=pipe, stderr=pipe)

    def ask(self, command: str, *words: object, timeout: float = BOOT_S) -> Done:
        """Run a command of ours; its exit code is an answer."""
        started = time.monotonic()
        process = self.popen(command, *words)
        out, err = process.communicate(timeout=timeout)
        said, why = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        return Done(process.returncode, said, why, time.monotonic() - started)

    def do(self, command: str, *words: object) -> str:
        """Run a command of ours that must succeed; its output."""
        done = self.ask(command, *words)
        assert done.code == 0, f"{command} {words}: {done.code}\n{done.stderr}"
        return done.stdout

    def python(self, *words: str) -> str:
        """Run Python with our library."""
        process = self.libvirt.popen(
            [sys.executable, *words], self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err.decode()
        return out.decode()

    def ssh(self, address: str, key: Path, command: str = "true", *, user: str = "user") -> Done:
        """Log into a guest with this key and no other."""
        options = {
            "IdentityFile": str(key), "IdentitiesOnly": "yes", "IdentityAgent": "none", "BatchMode": "yes",
            "StrictHostKeyChecking": "no", "UserKnownHostsFile": "/dev/null", "ConnectTimeout": "15",
            "LogLevel": "ERROR",
        }  # fmt: skip
        words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        argv = ["ssh", "-F", "none", *words, f"{user}@{address}", command]
        started = time.monotonic()
        pipe = subprocess.PIPE
        process = self.libvirt.popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
        out, err = process.communicate(timeout=180)
        said, why = out.decode("utf-8", "replace"), err.decode("utf-8", "replace")
        return Done(process.returncode, said, why, time.monotonic() - started)

    def wait_for_ssh(self, address: str, key: Path, *, user: str = "user", deadline_s: float = 180) -> None:
        """Until a login works."""
        deadline = time.monotonic() + deadline_s
        while (done := self.ssh(address, key, user=user)).code != 0:
            assert time.monotonic() < deadline, f"no login at {address}: {done.stderr}"
            time.sleep(0.5)

    # --- what is left ---------------------------------------------------------------------

    def leftovers(self) -> dict[str, list[str]]:
        """Everything on this host that belongs to machines: empty lists when there are none."""
        run = self.libvirt.run
        pool = self.root / ANSWERS["storage_path"].lstrip("/")  # type: ignore[attr-defined]
        files = [file.name for file in pool.iterdir() if not file.name.startswith("blockhost-template-")]
        routes = run(["ip", "-6", "route", "show", "dev", "br0"]).splitlines()
        return {
            "domains": run(["virsh", "-q", "-c", "qemu:///system", "list", "--all", "--name"]).split(),
            "files": sorted(files),
            "routes": [line for line in routes if line.startswith("2001:db8:99::1") and "::1 " not in line],
            "filters": [
                line.strip() for line in run(["nft", "list", "ruleset"]).splitlines() if "chain bhv" in line
            ],
            "taps": [line for line in run(["ls", "/sys/class/net"]).split() if line.startswith("bhv")],
            "records": self._rows(),
        }

    def _rows(self) -> list[str]:
        """Addresses in use, and machines that are not destroyed."""
        with contextlib.closing(sqlite3.connect(self.root / "var/lib/blockhost/vms.db")) as database:
            names = database.execute("SELECT vm_name FROM vms WHERE status != 'destroyed'")
            addresses = database.execute("SELECT address FROM addresses")
            return [row[0] for row in (*names, *addresses)]


def keypair(directory: Path, name: str) -> Path:
    """A new SSH key; its public half lies beside it."""
    key = directory / name
    key.unlink(missing_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
    return key


def main() -> int:
    """`python -m testing.vms.host DIRECTORY TEMPLATE`: a shell on such a host."""
    directory = Path(sys.argv[1]).resolve()
    shutil.rmtree(directory, ignore_errors=True)
    with VmHost.start(directory, Path(sys.argv[2]).resolve()) as host:
        words = sys.argv[3:] or ["bash"]
        print(shlex.join(host.libvirt.enter()), file=sys.stderr)
        return host.libvirt.popen(words, {**os.environ, **host.environment}).wait()


if __name__ == "__main__":
    raise SystemExit(main())
