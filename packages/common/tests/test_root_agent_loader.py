"""Action modules: only root's files, one owner for each name, and a broken one costs only itself."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from blockhost.root_agent.loader import action_files, load_actions

GOOD = "ACTIONS = {'one': lambda params: {'ok': True}}\n"


def module(directory: Path, name: str, text: str = GOOD) -> Path:
    file = directory / name
    file.write_text(text)
    file.chmod(0o644)
    return file


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("raise RuntimeError('at import')", "at import"),
        ("ACTIONS = [", "SyntaxError"),
        ("x = 1", "no ACTIONS"),
        ("ACTIONS = {'x': 1}", "must map names to handlers"),
        (
            "from blockhost.root_agent.action import action\nACTIONS = {'f': action(lambda x: None)}",
            "no type of its own",
        ),
    ],
)
def test_broken_module_costs_only_itself(tmp_path: Path, text: str, problem: str) -> None:
    loaded = load_actions([module(tmp_path, "a.py", text), module(tmp_path, "b.py")])
    assert set(loaded.actions) == {"one"}
    assert len(loaded.problems) == 1
    assert problem in loaded.problems[0]


def test_second_owner_of_a_name_is_refused(tmp_path: Path) -> None:
    second = module(tmp_path, "b.py", "ACTIONS = {'two': print, 'one': print}")
    loaded = load_actions([module(tmp_path, "a.py"), second])
    assert set(loaded.actions) == {"one"}
    assert f"{second}: action one is already defined by {tmp_path / 'a.py'}" in loaded.problems


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("spoil", ["owner", "group-writable", "world-writable", "directory", "fifo", "link"])
def test_files_that_others_can_change_do_not_run(tmp_path: Path, spoil: str) -> None:
    place = tmp_path / "place"
    place.mkdir(mode=0o755)
    file = module(place, "a.py", f"open({str(tmp_path / 'ran')!r}, 'w')\n{GOOD}")
    if spoil == "owner":
        os.chown(file, 65534, 65534)
    elif spoil == "directory":
        place.chmod(0o777)
    elif spoil == "fifo":
        file.unlink()
        os.mkfifo(file)
    elif spoil == "link":
        other = tmp_path / "other"
        other.mkdir()
        other.chmod(0o777)
        (other / "a.py").write_bytes(file.read_bytes())
        file.unlink()
        file.symlink_to(other / "a.py")
    else:
        file.chmod(0o664 if spoil == "group-writable" else 0o646)
    if spoil == "fifo":
        descriptor = os.open(file, os.O_RDWR)
        try:
            loaded = load_actions([file])
        finally:
            os.close(descriptor)
    else:
        loaded = load_actions([file])
    assert loaded.actions == {}
    assert loaded.problems
    assert not (tmp_path / "ran").exists()


def test_common_names_of_the_contract_can_be_imported(root: Path) -> None:
    directory = root / "usr/share/blockhost/root-agent-actions"
    directory.mkdir(mode=0o755)
    source = Path(__file__).parents[1] / "root-agent-actions"
    for file in source.glob("*.py"):
        module(directory, file.name, file.read_text())
    names = "log run NAME_RE SHORT_NAME_RE STORAGE_RE COMMENT_RE IPV6_CIDR128_RE ALLOWED_ROUTE_DEVS"
    names += " WALLET_DENY_NAMES VMID_MIN VMID_MAX CONFIG_DIR STATE_DIR"
    names += " validate_vmid validate_ipv6_128 validate_dev is_valid_address"
    module(directory, "foreign.py", f"from _common import {', '.join(names.split())}\n{GOOD}")
    loaded = load_actions(action_files())
    assert loaded.problems == ()
    assert set(loaded.actions) == {
        "ip6-route-add", "ip6-route-del", "iptables-open", "iptables-close", "generate-wallet",
        "addressbook-save", "broker-renew", "ping", "virt-customize", "one",
    }  # fmt: skip
