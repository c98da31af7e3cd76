#!/usr/bin/env python3
"""A FAKE provisioner: keeps the CLI contract to the letter, and makes no machines.

install(root) writes a manifest and one executable per verb below a moved root. The records are real
(the VM database of that root); a "guest" is a folder with its user's home, in which `guest-exec`
really runs what it is given. Each effect is one line of {root}/var/lib/blockhost/fake/effects.jsonl.
A verb or option that the contract does not have is refused with exit code 2.

FAKE_PROVISIONER_FAIL="verb,verb" makes these verbs fail; "create-late" fails behind its effect.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

VERBS = """create destroy start stop kill status list gc resume metrics throttle update-gecos
guest-exec""".split()  # noqa: SIM905
#: Of every guest.
HOST_KEY = "ssh-ed25519 " + "A" * 68
TOP = Path(__file__).resolve().parents[2]


def install(root: Path, commands: Path | None = None) -> Path:
    """Put the fake where `get_provisioner()` finds it; returns the folder of its commands."""
    commands = commands or root / "fake-provisioner/bin"
    commands.mkdir(parents=True, exist_ok=True)
    for verb in VERBS:
        file = commands / f"blockhost-vm-{verb}"
        file.write_text(
            f"#!{sys.executable}\nimport sys\n"
            f"sys.path[:0] = [{str(TOP)!r}, {str(TOP / 'packages/common')!r}]\n"
            f"from testing.fakes.provisioner import main\nsys.exit(main({verb!r}))\n"
        )
        file.chmod(0o755)
    manifest = {
        "name": "fake",
        "version": "0.0.0",
        "display_name": "FAKE provisioner (makes no machines)",
        "commands": {verb: f"blockhost-vm-{verb}" for verb in VERBS},
        "setup": {
            "first_boot_hook": "/nonexistent",
            "detect": "blockhost-provisioner-detect",
            "wizard_module": "none",
            "finalization_steps": [],
        },
        "root_agent_actions": "/nonexistent",
        "config_keys": {"session_key": "fake", "provisioner_config": []},
    }
    share = root / "usr/share/blockhost"
    share.mkdir(parents=True, exist_ok=True)
    (share / "provisioner.json").write_text(json.dumps(manifest))
    return commands


def effects(root: Path) -> list[dict[str, object]]:
    """What the fake has done, in order."""
    file = root / "var/lib/blockhost/fake/effects.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def guest(root: Path, name: str) -> Path:
    return root / "var/lib/blockhost/fake/guests" / name


def main(verb: str, argv: list[str] | None = None) -> int:
    print("FAKE provisioner: no machine is touched", file=sys.stderr)
    options = parser(verb).parse_args(argv)
    if verb in os.environ.get("FAKE_PROVISIONER_FAIL", "").split(","):
        print(f"the fake {verb} was told to fail", file=sys.stderr)
        return 1
    from blockhost.errors import BlockhostError
    from blockhost.vm_db import get_database

    try:
        with contextlib.closing(get_database(create=False)) as database:
            return globals()[f"do_{verb.replace('-', '_')}"](database, options) or 0
    except BlockhostError as error:
        print(f"blockhost-vm-{verb}: {error}", file=sys.stderr)
        return 1


def parser(verb: str) -> argparse.ArgumentParser:
    """Exactly the contract's arguments."""
    made = argparse.ArgumentParser(prog=f"blockhost-vm-{verb}", allow_abbrev=False)
    if verb not in ("list", "gc"):
        made.add_argument("name")
    match verb:
        case "create":
            made.add_argument("--owner-wallet", required=True)
            made.add_argument("--nft-token-id", type=int)
            for option, default in (("--expiry-days", 30), ("--cpu", 1), ("--memory", 2048), ("--disk", 20)):
                made.add_argument(option, type=int, default=default)
            made.add_argument("--apply", action="store_true")
            made.add_argument("--cloud-init-content", type=Path)
        case "list":
            made.add_argument("--format", choices=["json"])
        case "gc":
            for option in ("--execute", "--suspend-only", "--destroy-only"):
                made.add_argument(option, action="store_true")
            made.add_argument("--grace-days", type=int)
        case "resume":
            made.add_argument("--extend-days", type=int)
            made.add_argument("--dry-run", action="store_true")
        case "throttle":
            for option in [
                "cpu-shares",
                "cpu-quota",
                "bandwidth-in",
                "bandwidth-out",
                "iops-read",
                "iops-write",
            ]:
                made.add_argument(f"--{option}", type=int)
            made.add_argument("--reset", action="store_true")
        case "update-gecos":
            made.add_argument("wallet")
            made.add_argument("--nft-id", required=True, type=int)
        case "guest-exec":
            made.add_argument("command", nargs=argparse.REMAINDER)
    if verb in ("create", "gc", "resume"):
        made.add_argument("--mock", action="store_true")
    return made


def do_create(database, options):
    if not options.apply:
        print(json.dumps({"status": "dry-run", "vm_name": options.name}))
        return 0
    name = options.name
    before = database.get_vm(name)
    if before is not None and before["status"] == "creating":
        shutil.rmtree(guest(root(), name), ignore_errors=True)
        database.forget_vm(name)
        note("leftover", name)
    record = database.reserve_vm(
        name, owner=options.owner_wallet, expiry_days=options.expiry_days, wallet_address=options.owner_wallet
    )
    if options.nft_token_id is not None:
        database.reserve_nft_token_id(name, options.nft_token_id)
    username = boot(name, options)
    database.mark_active(name)
    note("create", name, cpu=options.cpu, memory=options.memory, disk=options.disk, vmid=record["vmid"])
    if "create-late" in os.environ.get("FAKE_PROVISIONER_FAIL", ""):
        return 1
    keys = {"ip": "ip_address", "ipv6": "ipv6_address", "vmid": "vmid"}
    answer = {"status": "ok", "vm_name": name, **{key: record[column] for key, column in keys.items()}}
    print(json.dumps({**answer, "nft_token_id": options.nft_token_id, "username": username}))
    return 0


def boot(name, options):
    """What cloud-init does with the first user."""
    import yaml

    user = yaml.safe_load(options.cloud_init_content.read_text())["users"][0]
    home = guest(root(), name) / "home" / user["name"]
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh/authorized_keys").write_text("".join(f"{key}\n" for key in user["ssh_authorized_keys"]))
    (guest(root(), name) / "gecos").write_text(user["gecos"])
    return user["name"]


def do_destroy(database, options):
    shutil.rmtree(guest(root(), options.name), ignore_errors=True)
    if database.get_vm(options.name) is not None:
        database.mark_destroyed(options.name)
    note("destroy", options.name)


def do_gc(database, options):
    if not options.destroy_only:
        for vm in database.get_vms_to_suspend():
            if options.execute:
                database.mark_suspended(vm["vm_name"])
                note("suspend", vm["vm_name"])
    if not options.suspend_only:
        for vm in database.get_vms_to_destroy(options.grace_days):
            if options.execute:
                shutil.rmtree(guest(root(), vm["vm_name"]), ignore_errors=True)
                database.mark_destroyed(vm["vm_name"])
                note("destroy", vm["vm_name"])


def do_resume(database, options):
    if options.extend_days:
        database.extend_expiry(options.name, options.extend_days)
    database.mark_active(options.name)
    note("resume", options.name)


def do_update_gecos(database, options):
    folder = running(database, options.name)
    (folder / "gecos").write_text(f"wallet={options.wallet},nft={options.nft_id}")
    note("update-gecos", options.name, wallet=options.wallet)


def do_guest_exec(database, options):
    """Runs it, with programs that know the guest: `getent`, `cat` (its host key), and an idle `chown`."""
    folder = running(database, options.name)
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name, text in (
        (
            "getent",
            f'test "$1" = passwd && test -d {folder}/home/"$2" && echo "$2:x:1:1::{folder}/home/$2:/bin/sh"',
        ),
        ("chown", "exit 0"),
        ("cat", f'test "$1" = /etc/ssh/ssh_host_ed25519_key.pub && echo "{HOST_KEY} root@fake"'),
    ):
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    env = {"PATH": f"{programs}:/usr/bin:/bin"}
    done = subprocess.run(options.command, env=env, capture_output=True, text=True, timeout=30)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    if "ssh_host_ed25519_key.pub" not in " ".join(options.command):  # reading is no effect
        note("guest-exec", options.name, code=done.returncode)
    return done.returncode


def do_status(database, options):
    record = database.get_vm(options.name)
    known = record and record["status"] in ("active", "suspended", "destroyed")
    print(record["status"] if known else "unknown")


def do_list(database, options):
    rows = [(vm["vm_name"], vm["status"], vm["ip_address"], vm["created_at"]) for vm in database.list_vms()]
    if options.format == "json":
        print(json.dumps([dict(zip(("name", "status", "ip", "created"), row, strict=True)) for row in rows]))
    else:
        for row in rows:
            print("\t".join(str(cell) for cell in row))


def running(database, name):
    record = database.get_vm(name)
    if record is None or record["status"] != "active":
        from blockhost.errors import BlockhostError

        raise BlockhostError(f"{name}: the guest agent is silent")
    return guest(root(), name)


def root() -> Path:
    return Path(os.environ.get("BLOCKHOST_ROOT") or "/")


def note(effect: str, name: str, **more: object) -> None:
    file = root() / "var/lib/blockhost/fake/effects.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as out:
        out.write(json.dumps({"effect": effect, "name": name, **more}) + "\n")
