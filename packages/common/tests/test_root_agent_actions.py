"""The shipped actions with recorded programs: the exact arguments, whatever a caller sends."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blockhost.errors import BlockhostError, RootAgentError
from blockhost.root_agent import cli
from blockhost.root_agent.action import Action
from blockhost.root_agent.loader import Loaded, load_actions

DIRECTORY = Path(__file__).parents[1] / "root-agent-actions"
RECORDER = """#!/usr/bin/python3
import json, os, sys
from pathlib import Path
with open(os.environ["LEDGER"], "a") as file:
    file.write(json.dumps([Path(sys.argv[0]).name, *sys.argv[1:], sys.stdin.read()]) + "\\n")
own = Path(os.environ["LEDGER"] + "." + Path(sys.argv[0]).name)
answer = Path(f"{own}.{sys.argv[1]}") if len(sys.argv) > 1 else own
answer = answer if answer.exists() else own
if answer.exists():
    out, err, code = json.loads(answer.read_text())
    print(out, end="")
    print(err, end="", file=sys.stderr)
    raise SystemExit(code)
"""


class Programs:
    def __init__(self, directory: Path) -> None:
        self.ledger = directory / "ledger"
        for name in ("ip", "nft", "bhcrypt", "broker-client", "systemctl", "virt-customize"):
            (directory / name).write_text(RECORDER)
            (directory / name).chmod(0o755)

    def calls(self) -> list[list[str]]:
        return (
            [json.loads(line) for line in self.ledger.read_text().splitlines()]
            if self.ledger.exists()
            else []
        )

    def answer(self, program: str, out: str = "", err: str = "", code: int = 0) -> None:
        Path(f"{self.ledger}.{program}").write_text(json.dumps([out, err, code]))


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    directory = tmp_path / "programs"
    directory.mkdir()
    made = Programs(directory)
    monkeypatch.setenv("LEDGER", str(made.ledger))
    monkeypatch.setenv("BLOCKHOST_PATH", f"{directory}:/usr/bin:/bin")
    return made


@pytest.fixture(scope="module")
def actions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Action]:
    installed = tmp_path_factory.mktemp("actions")  # 0700: a checkout may be writable for a group
    for file in DIRECTORY.glob("*.py"):
        (installed / file.name).write_bytes(file.read_bytes())
        (installed / file.name).chmod(0o644)
    loaded = load_actions(sorted(installed.glob("*.py")))
    assert loaded.problems == ()
    return loaded.actions


def do(actions: dict[str, Action], action: str, /, **params: Any) -> dict[str, Any]:
    return actions[action](**actions[action].build(params))


def test_route_is_replaced_not_added(actions: dict[str, Action], programs: Programs) -> None:
    do(actions, "ip6-route-add", address="2001:DB8::1/128", dev="br0")
    assert programs.calls() == [["ip", "-6", "route", "replace", "2001:db8::1/128", "dev", "br0", ""]]


@pytest.mark.parametrize(
    ("stderr", "is_fine"),
    [
        ("RTNETLINK answers: No such process\n", True),
        ('Cannot find device "br0"\n', True),
        ("Operation not permitted\n", False),
    ],
)
def test_missing_route_is_fine_and_other_errors_are_not(
    actions: dict[str, Action], programs: Programs, stderr: str, is_fine: bool
) -> None:
    programs.answer("ip", err=stderr, code=2)
    if is_fine:
        do(actions, "ip6-route-del", address="2001:db8::1/128", dev="br0")
        return
    with pytest.raises(BlockhostError, match="not permitted"):
        do(actions, "ip6-route-del", address="2001:db8::1/128", dev="br0")


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.fixed_dictionaries(
        {
            "address": st.one_of(st.text(max_size=50), st.just("2001:db8::1/128"), st.integers(), st.none()),
            "dev": st.one_of(
                st.text(max_size=20), st.sampled_from(["br0", "br0\n", "-br0", "br0 up"]), st.booleans()
            ),
        }
    )
)
def test_shape_of_arguments_never_changes(
    actions: dict[str, Action], programs: Programs, params: dict[str, Any]
) -> None:
    before = len(programs.calls())
    try:
        do(actions, "ip6-route-add", **params)
    except RootAgentError:
        assert len(programs.calls()) == before
        return
    *_, call = programs.calls()
    assert call == ["ip", "-6", "route", "replace", "2001:db8::1/128", "dev", "br0", ""]


def test_wallet_is_made_once(actions: dict[str, Action], programs: Programs, root: Path) -> None:
    programs.answer("bhcrypt.generate-keypair", out="ab" * 32 + "\n")
    programs.answer("bhcrypt.key-to-address", out="0x" + "1" * 40 + "\n")
    answer = do(actions, "generate-wallet", name="hot")
    assert answer == {"address": "0x" + "1" * 40, "keyfile": "/etc/blockhost/hot.key"}
    file = root / "etc/blockhost/hot.key"
    assert file.stat().st_mode & 0o777 == 0o640
    key = file.read_text()
    do(actions, "generate-wallet", name="hot")
    assert file.read_text() == key
    assert [call[1] for call in programs.calls()] == ["generate-keypair", "key-to-address", "key-to-address"]
    # The key goes by stdin, never as an argument.
    assert all(key.strip() not in word for call in programs.calls() for word in call[:-1])


@pytest.mark.parametrize("name", ["server", "admin", "dev", "broker", "deployer", "admin-signature"])
def test_keys_of_others_are_out_of_reach(
    actions: dict[str, Action], programs: Programs, root: Path, name: str
) -> None:
    with pytest.raises(RootAgentError, match="does not use itself"):
        do(actions, "generate-wallet", name=name)
    assert programs.calls() == []
    assert list((root / "etc/blockhost").iterdir()) == []


@pytest.mark.parametrize("made", ["", "no key", "ab" * 31, "ab" * 32 + " and more"])
def test_what_is_no_key_is_not_kept(
    actions: dict[str, Action], programs: Programs, root: Path, made: str
) -> None:
    programs.answer("bhcrypt.generate-keypair", out=made)
    with pytest.raises(RootAgentError, match="64 hex digits"):
        do(actions, "generate-wallet", name="hot")
    assert list((root / "etc/blockhost").iterdir()) == []


def test_engine_without_wallets_says_so(actions: dict[str, Action], programs: Programs, root: Path) -> None:
    programs.answer("bhcrypt", err="this engine has no wallets\n", code=1)
    with pytest.raises(BlockhostError, match="this engine has no wallets"):
        do(actions, "generate-wallet", name="hot")
    assert not (root / "etc/blockhost/hot.key").exists()


def test_addressbook_is_replaced_whole(actions: dict[str, Action], root: Path) -> None:
    entries = {
        "admin": {"address": "SHA256:" + "a" * 43},
        "hot": {"address": "0x" + "1" * 40, "keyfile": "hot.key"},
    }
    do(actions, "addressbook-save", entries=entries)
    file = root / "etc/blockhost/addressbook.json"
    assert json.loads(file.read_text()) == entries
    assert file.stat().st_mode & 0o777 == 0o640


def test_port_is_opened_by_one_transaction(actions: dict[str, Action], programs: Programs) -> None:
    do(actions, "iptables-open", port=22, proto="tcp", comment="knock: 1", duration=60)
    ((*argv, said),) = programs.calls()
    assert argv == ["nft", "-f", "-"]
    assert said.splitlines() == [
        "add element inet blockhost open_tcp { 22 }",
        "delete element inet blockhost open_tcp { 22 }",
        'add element inet blockhost open_tcp { 22 timeout 60s comment "knock: 1" }',
    ]


def test_flushed_rules_are_loaded_again(actions: dict[str, Action], programs: Programs) -> None:
    programs.answer("nft", err="Error: No such file or directory\n", code=1)
    with pytest.raises(BlockhostError):  # they are still missing then
        do(actions, "iptables-open", port=22, proto="udp", comment="x")
    assert [call[:3] for call in programs.calls()] == [
        ["nft", "-f", "-"],
        ["systemctl", "restart", "blockhost-firewall.service"],
        ["nft", "-f", "-"],
    ]


@pytest.mark.parametrize(
    ("stderr", "is_fine"), [("No such file or directory", True), ("Not permitted", False)]
)
def test_closed_port_is_fine_and_other_errors_are_not(
    actions: dict[str, Action], programs: Programs, stderr: str, is_fine: bool
) -> None:
    programs.answer("nft", err=f"Error: {stderr}\n", code=1)
    if is_fine:
        do(actions, "iptables-close", port=22, proto="tcp")
        return
    with pytest.raises(BlockhostError, match=stderr):
        do(actions, "iptables-close", port=22, proto="tcp", comment="x")


@pytest.fixture
def image(root: Path) -> Path:
    for name in ("template/debian.qcow2", "template-packages/guest_1.0_all.deb"):
        (root / "var/lib/blockhost" / name).parent.mkdir()
        (root / "var/lib/blockhost" / name).touch(0o644)
    return root / "var/lib/blockhost/template/debian.qcow2"


def test_image_is_changed_by_the_file_that_was_checked(
    actions: dict[str, Action], programs: Programs, image: Path
) -> None:
    do(
        actions, "virt-customize", image_path="/var/lib/blockhost/template/debian.qcow2",
        commands=[
            ["--install", "cloud-init,qemu-guest-agent"], ["upload", "guest_1.0_all.deb:/tmp/guest.deb"],
            ["run-command", "dpkg --install /tmp/guest.deb"], ["truncate", "/etc/machine-id"],
        ],
    )  # fmt: skip
    ((program, *argv, _),) = programs.calls()
    own = re.compile(rf"/proc/{os.getpid()}/fd/\d+")
    assert [own.sub("FILE", word) for word in (program, *argv)] == [
        "virt-customize", "--quiet", "--format", "qcow2", "--add", "FILE",
        "--install", "cloud-init,qemu-guest-agent", "--upload", "FILE:/tmp/guest.deb",
        "--run-command", "dpkg --install /tmp/guest.deb", "--truncate", "/etc/machine-id",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "commands"),
    [
        ("/etc/shadow", [["delete", "/tmp/x"]]),
        ("/var/lib/blockhost/template/../../../etc/x.img", [["delete", "/tmp/x"]]),
        ("/var/lib/blockhost/template/sub/debian.qcow2", [["delete", "/tmp/x"]]),
        ("/var/lib/blockhost/template/--add.qcow2", [["delete", "/tmp/x"]]),
        ("debian", []),
        ("debian", [["delete", "/tmp/x"]] * 65),
        ("debian", [["delete"]]),
        ("debian", [["delete", ["/tmp/x"]]]),
        ("debian", [["copy-out", "/etc/shadow:/tmp"]]),
        ("debian", [["commands-from-file", "/etc/shadow"]]),
        ("debian", [["--add", "/dev/sda"]]),
        ("debian", [["delete", "--run-command=id"]]),
        ("debian", [["delete", "/tmp/../etc/shadow"]]),
        ("debian", [["install", "x --run-command id"]]),
        ("debian", [["install", "--run-command"]]),
        ("debian", [["upload", "../../../etc/shadow:/tmp/x"]]),
        ("debian", [["upload", "/etc/shadow:/tmp/x"]]),
        ("debian", [["run-command", "id"]]),
        ("debian", [["run-command", "systemctl enable x.service; id"]]),
        ("debian", [["run-command", "systemctl enable x.service\n"]]),
        ("debian", [["chmod", "4755:/bin/sh"]]),
    ],
)
def test_image_and_operations_are_confined(
    actions: dict[str, Action], programs: Programs, image: Path, path: str, commands: list[Any]
) -> None:
    image_path = path if "/" in path else f"/var/lib/blockhost/template/{image.name}"
    with pytest.raises(RootAgentError, match="expected"):
        do(actions, "virt-customize", image_path=image_path, commands=commands)
    assert programs.calls() == []


def test_image_that_others_can_change_is_left_alone(
    actions: dict[str, Action], programs: Programs, image: Path
) -> None:
    image.chmod(0o664)
    with pytest.raises(RootAgentError, match="can change it"):
        do(actions, "virt-customize", image_path=f"/var/lib/blockhost/template/{image.name}",
           commands=[["delete", "/tmp/x"]])  # fmt: skip
    assert programs.calls() == []


def test_list_says_what_every_action_takes(
    actions: dict[str, Action], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "load_actions", lambda: Loaded(actions, ()))
    assert cli.main(["list"]) == 0
    text = capsys.readouterr().out
    assert "iptables-open port proto comment [duration]\n" in text
    assert "    duration: a whole number from 1 to 2592000\n" in text
    assert cli.main(["list", "--format", "json"]) == 0
    listed = {one["action"]: one for one in json.loads(capsys.readouterr().out)}
    assert set(listed) == set(actions)
    assert all(one["does"] for one in listed.values())
    assert all(each["expected"] for one in listed.values() for each in one["parameters"])


@pytest.mark.parametrize("pairs", [["port"], ["=1"], ["port=1", "port=2"], ["timeout=3"], ["action=x"]])
def test_call_refuses_odd_pairs(pairs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["call", "iptables-open", *pairs]) == 1
    assert "blockhost-agent:" in capsys.readouterr().err


def test_answer_of_a_call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        cli, "call", lambda action, **params: asked.append((action, params)) or {"a": "x", "b": [1]}
    )
    assert cli.main(["call", "x", "port=22", "name=br0", "flags=[]", "--timeout", "5"]) == 0
    assert asked == [("x", {"timeout": 5.0, "port": 22, "name": "br0", "flags": []})]
    assert json.loads(capsys.readouterr().out) == {"a": "x", "b": [1]}
    assert cli.main(["call", "x", "--format", "text"]) == 0
    assert capsys.readouterr().out == "a: x\nb: [1]\n"
