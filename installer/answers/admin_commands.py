"""Section `admin_commands`: orders that the admin may send to the host from outside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from blockhost.i18n import gettext as _
from installer.answers import values
from installer.answers.form import FormField, FormReader, object_schema

DEFAULT_DESTINATION, DEFAULT_COMMAND, DEFAULT_TIMEOUT_S = "self", "knock", 300
MOST_PORTS = 32

_port = values.integer(1, 65535)

FIELDS = (
    FormField("admin_enabled", {"enum": ["yes", "no", True, False]}, required=True),
    FormField("destination_mode", {"type": "string", "pattern": values.WORD, "default": DEFAULT_DESTINATION}),
    FormField(
        "knock_command", {"type": "string", "pattern": values.COMMAND_NAME, "default": DEFAULT_COMMAND}
    ),
    FormField(
        "knock_ports",
        {
            "anyOf": [
                {"type": "string"},
                {"type": "integer", "minimum": 1, "maximum": 65535},
                {
                    "type": "array",
                    "items": {"type": "integer", "minimum": 1, "maximum": 65535},
                    "maxItems": MOST_PORTS,
                    "uniqueItems": True,
                },
            ],
            "description": "ports that the command opens",
        },
    ),
    FormField(
        "knock_timeout",
        {
            "anyOf": [
                {"type": "integer", "minimum": 30, "maximum": 3600},
                {"type": "string", "pattern": "^[0-9]{2,4}$"},
            ],
            "default": DEFAULT_TIMEOUT_S,
            "description": "seconds until they close again",
        },
    ),
)

_RULES = (
    {
        "if": {"properties": {"admin_enabled": {"enum": ["yes", True]}}},
        "then": {"required": ["knock_ports"]},
    },
)


@dataclass(frozen=True, slots=True)
class AdminCommandsAnswer:
    """Whether the host listens for commands, and what `knock` opens for how many seconds.

    A form keeps its choices while commands are off, so that the page shows them again.
    """

    enabled: bool
    destination_mode: str = DEFAULT_DESTINATION
    knock_command: str = DEFAULT_COMMAND
    knock_ports: tuple[int, ...] = ()
    knock_timeout: int = DEFAULT_TIMEOUT_S

    FIELDS: ClassVar[tuple[FormField, ...]] = FIELDS
    SCHEMA: ClassVar[dict[str, Any]] = object_schema("admin_commands", FIELDS, _RULES)

    @classmethod
    def from_form(cls, form: Mapping[str, object]) -> AdminCommandsAnswer:
        """Read the form.

        Raises:
            FormRefused: an AnswerError that knows all faults.
        """
        read = FormReader(form, FIELDS)
        enabled = read.required("admin_enabled", values.one_of(("yes", "no"))) == "yes"
        destination = read.optional(
            "destination_mode",
            values.matching(values.WORD, _("one word in small letters such as self")),
            DEFAULT_DESTINATION,
        )
        command = read.optional(
            "knock_command",
            values.matching(values.COMMAND_NAME, _("a name of letters, digits, dot, hyphen, underscore")),
            DEFAULT_COMMAND,
        )
        parse_ports = values.listing(_port, most=MOST_PORTS)
        ports = (
            read.required("knock_ports", parse_ports)
            if enabled
            else read.optional("knock_ports", parse_ports, ())
        )
        timeout = read.optional("knock_timeout", values.integer(30, 3600), DEFAULT_TIMEOUT_S)
        read.finish()
        return cls(enabled, destination, command, ports, timeout)

    def to_form(self) -> dict[str, str]:
        """The form that gives this answer again; empty fields are left out."""
        form = {
            "admin_enabled": "yes" if self.enabled else "no",
            "destination_mode": self.destination_mode,
            "knock_command": self.knock_command,
            "knock_ports": ",".join(str(port) for port in self.knock_ports),
            "knock_timeout": str(self.knock_timeout),
        }
        return {name: text for name, text in form.items() if text}

    def to_session(self) -> dict[str, Any]:
        """The session's keys for this section."""
        return {
            "admin_commands": {
                "enabled": self.enabled,
                "destination_mode": self.destination_mode,
                "knock_command": self.knock_command,
                "knock_ports": list(self.knock_ports),
                "knock_timeout": self.knock_timeout,
            }
        }

    @classmethod
    def from_session(cls, session: Mapping[str, Any]) -> AdminCommandsAnswer:
        """The inverse of `to_session`."""
        kept = dict(session.get("admin_commands", {}))
        return cls.from_form({"admin_enabled": kept.pop("enabled", None), **kept})
