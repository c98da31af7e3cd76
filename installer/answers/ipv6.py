"""Section `ipv6`: where the VMs' public addresses come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from blockhost.i18n import gettext as _
from installer.answers import values
from installer.answers.form import FormField, FormReader, object_schema

MODES = ("broker", "manual", "none")
SMALLEST, LARGEST, DEFAULT_SIZE = 48, 120, 64

FIELDS = (
    FormField("ipv6_mode", {"enum": list(MODES)}, required=True),
    FormField(
        "broker_registry",
        {"type": "string", "description": "the registry to ask for a broker; empty: the engine's own"},
    ),
    FormField("manual_prefix", {"type": "string", "description": "for manual, such as 2001:db8:1:2::/64"}),
    FormField(
        "allocation_size",
        {
            "anyOf": [
                {"type": "integer", "minimum": SMALLEST, "maximum": LARGEST},
                {"type": "string", "pattern": "^[0-9]{2,3}$"},
            ],
            "default": DEFAULT_SIZE,
            "description": "prefix length to ask a broker for",
        },
    ),
)

_RULES = (
    {
        "if": {"properties": {"ipv6_mode": {"const": "manual"}}},
        "then": {"required": ["manual_prefix"]},
        "else": {"not": {"required": ["manual_prefix"]}},
    },
    {
        "if": {"properties": {"ipv6_mode": {"enum": ["manual", "none"]}}},
        "then": {"not": {"required": ["broker_registry"]}},
    },
)


@dataclass(frozen=True, slots=True)
class Ipv6Answer:
    """A prefix leased from a broker, one that the operator owns, or none."""

    mode: str
    prefix: str = ""
    broker_registry: str = ""
    allocation_size: int = DEFAULT_SIZE

    FIELDS: ClassVar[tuple[FormField, ...]] = FIELDS
    SCHEMA: ClassVar[dict[str, Any]] = object_schema("ipv6", FIELDS, _RULES)

    @classmethod
    def from_form(cls, form: Mapping[str, object]) -> Ipv6Answer:
        """Read the form.

        Raises:
            FormRefused: an AnswerError that knows all faults.
        """
        read = FormReader(form, FIELDS)
        mode = read.required("ipv6_mode", values.one_of(MODES))
        prefix = ""
        registry = ""
        if mode == "manual":
            prefix = str(read.required("manual_prefix", values.ipv6_prefix))
        elif read.fine("ipv6_mode"):
            read.forbid(["manual_prefix"], _("only ipv6_mode manual has a prefix of its own"))
        if mode == "broker":
            registry = read.optional("broker_registry", values.token, "")
        elif read.fine("ipv6_mode"):
            read.forbid(["broker_registry"], _("only ipv6_mode broker asks a registry"))
        size = read.optional("allocation_size", values.integer(SMALLEST, LARGEST), DEFAULT_SIZE)
        read.finish()
        return cls(mode, prefix, registry, size)

    def to_form(self) -> dict[str, str]:
        """The form that gives this answer again; empty fields are left out."""
        form = {
            "ipv6_mode": self.mode,
            "broker_registry": self.broker_registry,
            "manual_prefix": self.prefix,
            "allocation_size": str(self.allocation_size),
        }
        return {name: text for name, text in form.items() if text}

    def to_session(self) -> dict[str, Any]:
        """The session's keys for this section; the broker's two are filled in by its step."""
        return {
            "ipv6": {
                "mode": self.mode,
                "prefix": self.prefix,
                "broker_registry": self.broker_registry,
                "broker_node": "",
                "wg_config": "",
                "allocation_size": self.allocation_size,
            }
        }

    @classmethod
    def from_session(cls, session: Mapping[str, Any]) -> Ipv6Answer:
        """The inverse of `to_session`; a prefix that a broker leased is no answer of the operator."""
        kept = session.get("ipv6", {})
        return cls.from_form(
            {
                "ipv6_mode": kept.get("mode"),
                "broker_registry": kept.get("broker_registry") if kept.get("mode") == "broker" else "",
                "manual_prefix": kept.get("prefix") if kept.get("mode") == "manual" else "",
                "allocation_size": kept.get("allocation_size"),
            }
        )
