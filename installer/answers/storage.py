"""Section `storage`: the disk that the host works on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from installer.answers import values
from installer.answers.form import FormField, FormReader, object_schema

FIELDS = (
    FormField(
        "disk",
        {"type": "string", "pattern": values.DISK, "description": "a whole disk: /dev/sda or sda"},
        required=True,
    ),
)


@dataclass(frozen=True, slots=True)
class StorageAnswer:
    """A whole disk, as `/dev/NAME`. Whether it exists is the page's question, not this one's."""

    disk: str

    FIELDS: ClassVar[tuple[FormField, ...]] = FIELDS
    SCHEMA: ClassVar[dict[str, Any]] = object_schema("storage", FIELDS)

    @classmethod
    def from_form(cls, form: Mapping[str, object]) -> StorageAnswer:
        """Read the form.

        Raises:
            FormRefused: an AnswerError that knows all faults.
        """
        read = FormReader(form, FIELDS)
        disk = read.required("disk", values.disk)
        read.finish()
        return cls(disk)

    def to_form(self) -> dict[str, str]:
        """The form that gives this answer again."""
        return {"disk": self.disk}

    def to_session(self) -> dict[str, Any]:
        """The session's keys for this section."""
        return {"selected_disk": self.disk}

    @classmethod
    def from_session(cls, session: Mapping[str, Any]) -> StorageAnswer:
        """The inverse of `to_session`."""
        return cls.from_form({"disk": session.get("selected_disk")})
