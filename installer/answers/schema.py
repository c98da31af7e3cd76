"""The JSON Schema of an answers file, made from the tables that the readers use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from installer.answers.admin_commands import AdminCommandsAnswer
from installer.answers.collection import SECTIONS, VERSION, Plugins
from installer.answers.file import DEFAULTS
from installer.answers.ipv6 import Ipv6Answer
from installer.answers.network import NetworkAnswer
from installer.answers.plugin import plugin_schema
from installer.answers.storage import StorageAnswer
from installer.answers.wallet import WalletAnswer

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_CORE: Mapping[str, Mapping[str, Any]] = {
    "wallet": WalletAnswer.SCHEMA,
    "network": NetworkAnswer.SCHEMA,
    "storage": StorageAnswer.SCHEMA,
    "ipv6": Ipv6Answer.SCHEMA,
    "admin_commands": AdminCommandsAnswer.SCHEMA,
}

#: Instead of the value, for anything, secrets above all.
FROM_FILE = {
    "type": "object",
    "properties": {"file": {"type": "string", "minLength": 1}},
    "required": ["file"],
    "additionalProperties": False,
    "description": "the value stands in this file, named relative to the answers file",
}

OWNER_KEY = {
    "type": "object",
    "title": "wallet, signed by the client",
    "properties": {
        "key": {
            "type": "string",
            "minLength": 1,
            "description": "SSH private key that `apply` signs with, relative to the answers file",
        },
        "public_secret": {"type": "string", "minLength": 1},
    },
    "required": ["key", "public_secret"],
    "additionalProperties": False,
}


def document_schema(plugins: Plugins) -> dict[str, Any]:
    """The schema of a whole file, plugins' sections included as far as they are at hand."""
    sections = {name: _with_files(schema) for name, schema in _CORE.items()}
    sections["wallet"] = {"anyOf": [sections["wallet"], OWNER_KEY]}
    for kind in ("engine", "provisioner"):
        plugin = getattr(plugins, kind)
        if plugin is None:
            sections[kind] = {
                "type": "object",
                "properties": {"name": {"type": "string"}},
                "required": ["name"],
            }
        else:
            schema = plugin_schema(plugin.manifest.name, plugin.module)
            sections[kind] = _with_files({"title": plugin.manifest.display_name, **schema})
    return {
        "$schema": DRAFT,
        "title": "BlockHost answers",
        "type": "object",
        "properties": {"version": {"const": VERSION}, **{name: sections[name] for name in SECTIONS}},
        "required": ["version", *(name for name in SECTIONS if name not in DEFAULTS)],
        "additionalProperties": False,
        "$defs": {"fromFile": FROM_FILE},
    }


def _with_files(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Let each field's value be given as `{file: PATH}`, and empty ones be left as they are."""
    properties = {
        name: rule if "const" in rule else {"anyOf": [rule, {"$ref": "#/$defs/fromFile"}]}
        for name, rule in schema.get("properties", {}).items()
    }
    return {**schema, "properties": properties}
