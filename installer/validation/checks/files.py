"""Checks of files: the ones that services need, their modes, and that no secret stayed behind."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from blockhost import config_files
from blockhost.checks import Check, CheckContext, Finding
from blockhost.config_files import ConfigFile
from blockhost.errors import ManifestError
from blockhost.i18n import gettext as _
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
            _("%(name)s can be read") % {"name": row.name},
            lambda _context, row=row: _readable(row),  # type: ignore[misc]
            fix=N_("Run the setup step again that writes it"),
        )
    yield Check(
        "FILE-MODE-01",
        _("configuration files have their modes and owners"),
        _modes,
        fix=N_("blockhost-setup validate names the files; chown and chmod them as told"),
    )
    yield Check("FILE-SECRET-01", _("the setup keeps no secret"), _no_secrets, fix=N_("Run the setup again"))


def _readable(row: ConfigFile) -> Finding:
    try:
        config_files.read_config(row)
    except FileNotFoundError:
        return Finding(ok=False, evidence=_("%(path)s is missing") % {"path": row.path})
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
        return Finding(ok=False, evidence=_("the vault holds %(names)s") % {"names": ", ".join(names)})
    header = run.load_header()
    left = [
        ".".join(filter(None, (key, name)))
        for key, names in secret_names(*_manifests()).items()
        for name in names
        if header and (value := _answer(header.answers, key).get(name)) and not is_placeholder(value)
    ]
    return Finding(
        ok=not left,
        evidence=_("%(header_file)s holds %(names)s")
        % {"header_file": run.header_file(), "names": ", ".join(left)}
        if left
        else "",
    )


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
