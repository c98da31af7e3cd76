"""From `create` to a login by SSH, against the same image booted by hand with the same XML.

Both start at the same moment, so that whatever else this machine does slows both alike. Needs root, and
minutes.

The command's own share is all that it does but waiting: with `--wait 0` it ends when the machine was
started; then half the pause between two questions whether the guest answers is added.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from blockhost.provisioner_libvirt.create import PING_S
from testing.bench.ratio import Ratio
from testing.vms.host import VmHost, keypair
from testing.vms.template import template_folder

OWNER = "SHA256:" + "a" * 43
SIZE = ["--cpu", 1, "--memory", 512, "--disk", 4]
SHARE_S, ROUNDS = 1.5, 3
CLONE = """
set -e
pool=$(dirname "$(virsh -q vol-path --pool blockhost --vol model.qcow2)")
template=$(ls "$pool"/blockhost-template-*.qcow2)
qemu-img create -q -f qcow2 -b "$template" -F qcow2 "$pool/hand.qcow2" 4G
cp "$pool/model-seed.iso" "$pool/hand-seed.iso"
virsh -q pool-refresh --pool blockhost
"""


def measure() -> list[Ratio]:
    with tempfile.TemporaryDirectory(prefix="bench-vms-") as name:
        directory = Path(name)
        with VmHost.start(directory, template_folder()) as host:
            key = keypair(directory, "key")
            share = own_share(host, key)
            ours, hand = side_by_side(host, key)
    return [
        Ratio("create: start to SSH login / the same by hand", ours, hand, limit=1.25, unit="s"),
        Ratio("create: the command's own share / 1.5 s", share, SHARE_S, limit=1.0, unit="s"),
    ]


def make(host: VmHost, name: str, key: Path, *more: object) -> dict[str, str]:
    words = [name, "--owner-wallet", OWNER, *SIZE, "--ssh-keys", f"{key}.pub", "--apply", *more]
    return dict(host.ask("create", *words, timeout=1200).json())


def own_share(host: VmHost, key: Path) -> float:
    """The best of some rounds: what is slower is somebody else's work."""
    taken = []
    for number in range(ROUNDS):
        started = time.monotonic()
        make(host, f"share{number}", key, "--wait", 0)
        taken.append(time.monotonic() - started)
        host.do("destroy", f"share{number}")
    return min(taken) + PING_S / 2


def side_by_side(host: VmHost, key: Path) -> tuple[float, float]:
    """Seconds to a login, ours and by hand; the machine by hand is a copy of one that `create` made."""
    answer = make(host, "model", key, "--wait", 0)
    host.do("kill", "model")
    xml = host.libvirt.run(["virsh", "-q", "-c", "qemu:///system", "dumpxml", "--inactive", "model"])
    host.libvirt.run(["sh", "-c", CLONE])
    host.libvirt.run(["virsh", "-q", "-c", "qemu:///system", "undefine", "model"])
    by_hand = xml.replace("<name>model<", "<name>hand<").replace("model.qcow2", "hand.qcow2")
    by_hand = by_hand.replace("model-seed.iso", "hand-seed.iso")

    def ours() -> None:
        made = make(host, "ours", key)
        host.wait_for_ssh(made["ip"], key, deadline_s=900)

    def hand() -> None:
        virsh = ["virsh", "-q", "-c", "qemu:///system"]
        host.libvirt.run([*virsh, "define", "/dev/stdin"], stdin=by_hand)
        host.libvirt.run([*virsh, "start", "hand"])
        host.wait_for_ssh(answer["ip"], key, deadline_s=900)

    taken = in_parallel({"ours": ours, "hand": hand})
    return taken["ours"], taken["hand"]


def in_parallel(works: dict[str, Callable[[], None]]) -> dict[str, float]:
    """Seconds that each took."""
    taken: dict[str, float] = {}

    def timed(name: str, work: Callable[[], None]) -> None:
        started = time.monotonic()
        work()
        taken[name] = time.monotonic() - started

    threads = [threading.Thread(target=timed, args=item) for item in works.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(taken) != len(works):
        raise RuntimeError(f"only these came to an end: {json.dumps(taken)}")
    return taken
