"""Step `finalize`: what the services need, with the right owner and mode; the services
themselves; and no secret left in the state of the setup."""

from __future__ import annotations

import json
import os
from typing import Any

from blockhost import config_files
from blockhost.config_files import ADMIN_COMMANDS, ADMIN_SIGNATURE, ConfigFile, read_config, write_config
from blockhost.errors import StepFailed
from blockhost.files import account_ids, make_dir, write_atomic
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_
from blockhost.paths import config_dir, state_dir
from blockhost.pipeline.context import StepContext
from blockhost.pipeline.step import Change, Step
from blockhost.plugin_api import export
from installer import answers, discovery
from installer.finalize import run as runs
from installer.vault import Vault

SERVICES = ("blockhost-root-agent.service", "blockhost-admin.service", "nginx.service")
KNOCK = N_("Open ports for the sender for a while")


def run(context: StepContext) -> None:
    make_dir(config_dir(), mode=0o750, owner="root", group="blockhost")
    make_dir(state_dir(), mode=0o750, owner="blockhost", group="blockhost")
    _write_admin_files(context)
    _write_backup(context)
    for row in config_files.TABLE:
        correct_mode(row)
    for index, service in enumerate(SERVICES):
        context.progress(0.3 + 0.2 * index, service)
        context.run(["systemctl", "enable", "--now", service], timeout=120)
    # Last: until here, a retry still needs them.
    Vault().wipe()


def is_done(context: StepContext) -> bool:
    """Files, modes and services are right, and the vault is empty."""
    return (
        not Vault().names()
        and ADMIN_SIGNATURE.path.exists()
        and _admin_commands_are_written(context)
        and all(mode_is_right(row) for row in config_files.TABLE)
        and all(_is_up(context, service) for service in SERVICES)
    )


def describe(context: StepContext) -> list[Change]:
    files = [ADMIN_SIGNATURE.path, ADMIN_COMMANDS.path, runs.backup_file()]
    return [
        *(Change("file", str(file)) for file in files),
        *(Change("unit", service, _("enable and start")) for service in SERVICES),
    ]


def admin_commands(answer: dict[str, Any]) -> dict[str, Any]:
    """The contract's admin-commands.json for the operator's answer."""
    if not answer.get("enabled"):
        return {"commands": {}}
    return {
        "commands": {
            answer["knock_command"]: {
                "action": "knock",
                "description": KNOCK,
                "params": {
                    "allowed_ports": answer["knock_ports"],
                    "default_duration": answer["knock_timeout"],
                },
            }
        }
    }


def correct_mode(row: ConfigFile) -> None:
    """Give a configuration file the mode and owner of its row; a missing one is fine."""
    try:
        descriptor = os.open(row.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fchmod(descriptor, row.mode)
        os.fchown(descriptor, *account_ids(row.owner, row.group))
    finally:
        os.close(descriptor)


def mode_is_right(row: ConfigFile) -> bool:
    """True when the file is missing, or has the mode and owner of its row."""
    try:
        found = row.path.lstat()
    except FileNotFoundError:
        return True
    expected = account_ids(row.owner, row.group)
    owners = zip((found.st_uid, found.st_gid), expected, strict=True)
    return found.st_mode & 0o7777 == row.mode and all(wanted in (-1, owner) for owner, wanted in owners)


def _write_admin_files(context: StepContext) -> None:
    if context.has_secret(answers.ADMIN_SIGNATURE):
        write_config(ADMIN_SIGNATURE, context.secret(answers.ADMIN_SIGNATURE).reveal())
    elif not ADMIN_SIGNATURE.path.exists():
        raise StepFailed(_("the admin's signature was not given"), hint=_("Answer the wallet page again"))
    write_config(ADMIN_COMMANDS, admin_commands(context.answers.get("admin_commands") or {}))


def _write_backup(context: StepContext) -> None:
    """Only an engine can encrypt; one that cannot leaves the operator with `export` instead."""
    engine = discovery.discover().engine
    encrypt = export(engine.module, "encrypt_config") if engine else None
    header = runs.load_header()
    if encrypt is None or header is None or not context.has_secret(answers.ADMIN_SIGNATURE):
        return
    plaintext = json.dumps(answers.resolve_secrets(header.answers, context.secret), sort_keys=True)
    ciphertext = str(encrypt(context.secret(answers.ADMIN_SIGNATURE).reveal(), plaintext))
    write_atomic(runs.backup_file(), ciphertext + "\n", mode=0o640, owner="blockhost", group="blockhost")


def _admin_commands_are_written(context: StepContext) -> bool:
    try:
        return bool(
            read_config(ADMIN_COMMANDS) == admin_commands(context.answers.get("admin_commands") or {})
        )
    except FileNotFoundError:
        return False


def _is_up(context: StepContext, service: str) -> bool:
    return all(
        context.probe(["systemctl", question, "--quiet", service]).code == 0
        for question in ("is-enabled", "is-active")
    )


STEP = Step(
    "finalize",
    N_("Services and permissions"),
    apply=run,
    check=is_done,
    plan=describe,
    expect_s=(1, 30),
    timeout_s=600,
)
