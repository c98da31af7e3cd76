"""Checks of files: the ones that services need, their modes, and that no secret stayed behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from blockhost import config_files
from blockhost.checks import Check, CheckContext, Finding
from blockhost.config_files import ConfigFile
from blockhost.errors import ManifestError
from blockhost.i18n import gettext_noop as N_
from blockhost.manifest import EngineManifest, ProvisionerManifest, load_engine, load_provisioner
from installer.answers import is_placeholder, secret_names
from installer.finalize import run
from installer.finalize.steps.complete import mode_is_right
from installer.vault import Vault

REQUIRED = (config_files.DB, config_files.HTTPS, config_files.ADMIN_SIGNATURE, config_files.ADMIN_COMMANDS)


def checks() -> Iterator[Check]:
    for number, row in enumerate(REQUIRED, 1):
        yield Check(
            f"FILE-NEED-{number:02}",
            f"{row.name} can be read",
            lambda _, row=row: _readable(row),  # type: ignore[misc]
            fix=N_("Run the setup step again that writes it"),
        )
    yield Check(
        "FILE-MODE-01",
        "configuration files have their modes and owners",
        _modes,
        fix=N_("blockhost-setup validate names the files; chown and chmod them as told"),
    )
    yield Check("FILE-SECRET-01", "the setup keeps no secret", _no_secrets, fix=N_("Run the setup again"))


def _readable(row: ConfigFile) -> Finding:
    try:
        config_files.read_config(row)
    except FileNotFoundError:
        return Finding(ok=False, evidence=f"{row.path} is missing")
    return Finding(ok=True)


def _modes(context: CheckContext) -> Finding:
    wrong = [
        f"{row.name} (expected {row.mode:o} {row.owner}:{row.group})"
        for row in config_files.TABLE
        if not mode_is_right(row)
    ]
    return Finding(ok=not wrong, evidence=", ".join(wrong))


def _no_secrets(context: CheckContext) -> Finding:
    if names := Vault().names():
        return Finding(ok=False, evidence=f"the vault holds {', '.join(names)}")
    header = run.load_header()
    left = [
        ".".join(filter(None, (key, name)))
        for key, names in secret_names(*_manifests()).items()
        for name in names
        if header and (value := _answer(header.answers, key).get(name)) and not is_placeholder(value)
    ]
    return Finding(ok=not left, evidence=f"{run.header_file()} holds {', '.join(left)}" if left else "")


def _answer(answers: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The answers under a session key; all of them for the empty one."""
    found = answers.get(key, {}) if key else answers
    return found if isinstance(found, Mapping) else {}


def _manifests() -> tuple[EngineManifest | None, ProvisionerManifest | None]:
    """Both manifests, as far as they can be read: another check complains of one that cannot."""
    engine = provisioner = None
    with contextlib.suppress(ManifestError):
        engine = load_engine()
    with contextlib.suppress(ManifestError):
        provisioner = load_provisioner()
    return engine, provisioner
