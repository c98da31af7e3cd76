"""Secrets stay out of what is stored and shown: a placeholder stands where the value was.

`{"$secret": "NAME"}` in a session, a run header or a step's configuration means: the vault has it
under NAME. Names are those of the form fields: `admin_signature`, and the manifests' `secrets`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from blockhost.manifest import EngineManifest, ProvisionerManifest
from blockhost.secret import Secret

PLACEHOLDER = "$secret"
ADMIN_SIGNATURE = "admin_signature"


def placeholder(name: str) -> dict[str, str]:
    """What stands in a stored document for the secret called `name`."""
    return {PLACEHOLDER: name}


def is_placeholder(value: object) -> bool:
    """True for exactly one placeholder."""
    return isinstance(value, Mapping) and set(value) == {PLACEHOLDER} and isinstance(value[PLACEHOLDER], str)


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


def resolve_secrets(document: Any, get: Callable[[str], Secret]) -> Any:
    """The document with each placeholder replaced by the value that `get` has for it.

    The result holds secrets in the clear: it is for a step or an export, never for a file of ours.
    """
    if is_placeholder(document):
        return get(document[PLACEHOLDER]).reveal()
    if isinstance(document, Mapping):
        return {key: resolve_secrets(value, get) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [resolve_secrets(value, get) for value in document]
    return document
