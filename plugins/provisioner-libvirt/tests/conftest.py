"""A host with fakes for what would change the machine, or with a libvirt daemon of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testing.vms.private_libvirt import PrivateLibvirt, answers_on, end, is_possible, wait_for

REPOSITORY = Path(__file__).resolve().parents[3]
FAKES = REPOSITORY / "testing/fakes/bin"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

IP = """#!/usr/bin/python3
import json, sys
words = [word for word in sys.argv[1:] if not word.startswith("-")]
if words[:2] == ["route", "show"]:
    print(json.dumps([{"dst": "default", "gateway": "192.0.2.1", "dev": "br0"}]))
elif words[:2] == ["address", "show"]:
    print(json.dumps([{"ifname": "br0", "addr_info": [
        {"family": "inet", "local": "192.0.2.105", "prefixlen": 24}]}]))
elif words[:2] == ["neigh", "show"]:
    print(json.dumps([
        {"dst": "192.0.2.1", "lladdr": "52:54:00:00:00:01", "state": ["REACHABLE"]},
        {"dst": "192.0.2.230", "lladdr": "52:54:00:00:00:02", "state": ["STALE"]},
        {"dst": "192.0.2.240", "state": ["FAILED"]}]))
"""


@dataclass
class Host:
    """One appliance root with what finalization needs to find."""

    root: Path
    answers: dict[str, Any]

    @property
    def ledger(self) -> list[list[str]]:
        """What the fakes were asked to do, as argument lists."""
        file = self.root / "var/log/fake-programs.jsonl"
        if not file.exists():
            return []
        return [json.loads(line)["argv"] for line in file.read_text().splitlines()]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A root before finalization: bridge known, image carried, fakes first on the path."""
    root = tmp_path / "r"  # short: socket names have 107 bytes
    for directory in (
        "etc/blockhost",
        "var/lib/blockhost/template",
        "var/log",
        "run/blockhost",
        "usr/share/blockhost",
    ):
        (root / directory).mkdir(parents=True)
    (root / "run/blockhost/bridge").write_text("br0\n")
    (root / "usr/share/blockhost/cloud-init").symlink_to(REPOSITORY / "packages/common/cloud-init")
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ip").write_text(IP)
    (programs / "ip").chmod(0o755)
    monkeypatch.setenv("BLOCKHOST_ROOT", str(root))
    monkeypatch.setenv("BLOCKHOST_DRY_RUN", "1")
    monkeypatch.setenv("BLOCKHOST_PATH", f"{programs}:{FAKES}:{SYSTEM_PATH}")
    carry_image(root)
    answers = {
        "storage_pool": "blockhost",
        "storage_path": "/var/lib/libvirt/images/blockhost",
        "ip_network": "192.0.2.0/24",
        "ip_start": "192.0.2.100",
        "ip_end": "192.0.2.120",
        "gateway": "192.0.2.1",
        "gc_grace_days": 7,
    }
    return Host(root, answers)


def carry_image(root: Path, *options: str) -> Path:
    """An empty image with its checksum, as the ISO carries the real one."""
    image = root / "var/lib/blockhost/template/blockhost-vm.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *options, str(image), "64M"], check=True)
    write_checksum(image)
    return image


def write_checksum(image: Path) -> None:
    digest = hashlib.sha256(image.read_bytes()).hexdigest()
    image.with_name(image.name + ".sha256").write_text(f"{digest}  {image.name}\n")


@pytest.fixture
def agent(host: Host) -> Iterator[subprocess.Popen[bytes]]:
    """The root agent with the real action modules, for this root."""
    with running_agent(host.root) as process:
        yield process


@contextlib.contextmanager
def running_agent(root: Path) -> Iterator[subprocess.Popen[bytes]]:
    # Copies with the modes of an installed package: the agent refuses what others could write.
    installed = root / "usr/share/blockhost/root-agent-actions"
    installed.mkdir(mode=0o755)
    for part in ("packages/common", "plugins/provisioner-libvirt"):
        for module in (REPOSITORY / part / "root-agent-actions").glob("*.py"):
            (installed / module.name).write_bytes(module.read_bytes())
            (installed / module.name).chmod(0o644)
    path = os.pathsep.join(
        str(REPOSITORY / part) for part in ("packages/common", "plugins/provisioner-libvirt")
    )
    process = subprocess.Popen(
        [*shlex.split(os.environ.get("TEST_INSIDE", "")), sys.executable, "-m", "blockhost.root_agent"],
        env={**os.environ, "PYTHONPATH": path},
    )
    try:
        wait_for(lambda: answers_on(root / "run/blockhost/root-agent.sock"), process, "the root agent")
        yield process
    finally:
        if os.environ.get("TEST_INSIDE"):
            end(process)
        else:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


@pytest.fixture(scope="session")
def libvirt_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateLibvirt]:
    """A libvirt of our own, under emulation, in namespaces of its own."""
    if not is_possible():
        pytest.skip("needs root, libvirt-daemon-system and qemu-system-x86")
    with PrivateLibvirt.start(tmp_path_factory.mktemp("v")) as daemon:
        yield daemon


@pytest.fixture
def libvirt(
    libvirt_daemon: PrivateLibvirt, tmp_path: Path, host: Host, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """That libvirt as the one the product talks to; emptied afterwards."""
    uri = libvirt_daemon.uri
    # The agent sets up filters where libvirt's machines are.
    monkeypatch.setenv("TEST_INSIDE", shlex.join(libvirt_daemon.enter()))
    # The programs that change the machine are real here, but they change only namespaces.
    monkeypatch.setenv("BLOCKHOST_PATH", f"{tmp_path / 'programs'}:{SYSTEM_PATH}")
    monkeypatch.setenv("BLOCKHOST_LIBVIRT_URI", uri)
    yield

    def virsh(*arguments: str) -> list[str]:
        done = subprocess.run(
            ["virsh", "-q", "-c", uri, *arguments], capture_output=True, text=True, timeout=60
        )
        return done.stdout.split()

    for name in virsh("list", "--name"):
        virsh("destroy", name)
    for name in virsh("list", "--all", "--name"):
        virsh("undefine", name)
    for name in virsh("pool-list", "--all", "--name"):
        virsh("pool-destroy", name)
        virsh("pool-undefine", name)
