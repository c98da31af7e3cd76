"""Which answers are secret, and how they leave a session: see `blockhost.placeholders`.

Names are those of the form fields: `admin_signature`, and the manifests' `secrets`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blockhost.manifest import EngineManifest, ProvisionerManifest
from blockhost.placeholders import is_placeholder, placeholder
from blockhost.secret import Secret

ADMIN_SIGNATURE = "admin_signature"


def as_secret(value: object) -> Secret:
    """A secret's text; empty where only the placeholder is known."""
    return Secret("" if is_placeholder(value) else str(value or ""))


def secret_names(
    engine: EngineManifest | None, provisioner: ProvisionerManifest | None
) -> dict[str, frozenset[str]]:
    """Which names are secret: by the session key they stand under, "" for the top level."""
    names = {"": frozenset({ADMIN_SIGNATURE})}
    for manifest in (engine, provisioner):
        if manifest is not None:
            names[manifest.session_key] = names.get(manifest.session_key, frozenset()) | {*manifest.secrets}
    return names


def split_secrets(
    session: Mapping[str, Any], engine: EngineManifest | None, provisioner: ProvisionerManifest | None
) -> tuple[dict[str, Any], dict[str, Secret]]:
    """The session with placeholders in place of secrets, and the secrets by name.

    Empty values are no secrets; a placeholder that is there already stays.
    """
    found: dict[str, Secret] = {}

    def without(values: Mapping[str, Any], names: frozenset[str]) -> dict[str, Any]:
        public = dict(values)
        for name in names & values.keys():
            if isinstance(values[name], str) and values[name]:
                found[name] = Secret(values[name])
                public[name] = placeholder(name)
        return public

    by_key = secret_names(engine, provisioner)
    public = without(session, by_key.pop(""))
    for key, names in by_key.items():
        if isinstance(public.get(key), Mapping):
            public[key] = without(public[key], names)
    return public, found
