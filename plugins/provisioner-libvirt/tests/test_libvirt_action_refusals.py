"""What the agent never lets reach libvirt: each action, with parameters that are not of its types."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blockhost.errors import RootAgentError
from blockhost.root_agent.loader import load_actions

TOP = Path(__file__).resolve().parents[3]
ACTIONS = load_actions(
    [
        TOP / "packages/common/root-agent-actions/_common.py",
        TOP / "plugins/provisioner-libvirt/root-agent-actions/virsh.py",
    ]
).actions
NAMES: list[Any] = ["", "..", "a/b", "a b", "--all", "A", "a;b", "a\n", "x" * 65, None, 1, ["a"], {"a": 1}]
#: By action: what else it takes, rightly filled.
RIGHT: dict[str, dict[str, Any]] = {
    "virsh-start": {},
    "virsh-shutdown": {},
    "virsh-destroy": {},
    "virsh-reboot": {},
    "virsh-undefine": {},
    "vm-disk-create": {"disk_gb": 4},
    "vm-seed-write": {"user_data": "x", "meta_data": "x", "network_config": "x"},
    "vm-volumes-delete": {},
    "vm-guest-ping": {},
    "vm-guest-exec": {"command": ["true"]},
    "vm-guest-exec-status": {"pid": 7},
    "vm-owner-set": {"wallet": "SHA256:" + "a" * 43, "nft_id": 1, "ssh_keys": ["ssh-ed25519 AAAA"]},
    "vm-limit": {"cpu_quota": 50, "kbps_out": 1000},
}
#: Action, parameter and a value that its type refuses.
WRONG: list[tuple[str, str, Any]] = [
    ("vm-disk-create", "disk_gb", 0),
    ("vm-disk-create", "disk_gb", "4"),
    ("vm-disk-create", "disk_gb", True),
    ("vm-seed-write", "user_data", 5),
    ("vm-guest-exec", "command", "rm -rf /"),
    ("vm-guest-exec", "command", []),
    ("vm-guest-exec", "command", ["a\0b"]),
    ("vm-guest-exec", "command", ["x"] * 65),
    ("vm-guest-exec-status", "pid", 0),
    ("vm-guest-exec-status", "pid", "7"),
    ("vm-owner-set", "wallet", "a b"),
    ("vm-owner-set", "wallet", "a\nroot::0:0"),
    ("vm-owner-set", "nft_id", -1),
    ("vm-owner-set", "ssh_keys", ["ssh-ed25519 AAAA\nssh-rsa BBBB"]),
    ("vm-owner-set", "ssh_keys", ["x"] * 17),
    ("vm-limit", "cpu_quota", 101),
    ("vm-limit", "kbps_out", -1),
    ("virsh-undefine", "flags", ["--no-such-flag"]),
    ("virsh-undefine", "flags", "--nvram"),
    ("vm-metrics", "names", "vm1"),
    ("vm-metrics", "names", ["../etc"]),
    ("vm-metrics", "names", ["a"] * 201),
    ("virsh-define", "xml", ""),
    ("virsh-define", "xml", "<domain><name>../x</name></domain>"),
]


def test_every_action_of_the_plugin_is_here() -> None:
    assert set(ACTIONS) == {*RIGHT, "vm-metrics", "virsh-define", "virsh-list"}


@pytest.mark.parametrize("action", RIGHT)
def test_right_parameters_are_taken_and_wrong_names_are_not(action: str) -> None:
    right = {"name": "vm1", **RIGHT[action]}
    assert ACTIONS[action].build(right)["name"] == "vm1"
    for name in NAMES:
        with pytest.raises(RootAgentError, match=r"^name: "):
            ACTIONS[action].build({**right, "name": name})
    with pytest.raises(RootAgentError, match="unknown parameter"):
        ACTIONS[action].build({**right, "argv": ["--all"]})
    with pytest.raises(RootAgentError, match="missing parameter name"):
        ACTIONS[action].build(RIGHT[action])


@pytest.mark.parametrize(("action", "parameter", "value"), WRONG)
def test_value_of_another_type_is_refused(action: str, parameter: str, value: object) -> None:
    right = {"name": "vm1", **RIGHT.get(action, {})} if action in RIGHT else {}
    with pytest.raises(RootAgentError, match=rf"^{parameter}: "):
        ACTIONS[action].build({**right, parameter: value})


def test_listing_takes_nothing() -> None:
    with pytest.raises(RootAgentError, match="unknown parameter"):
        ACTIONS["virsh-list"].build({"name": "vm1"})
