"""Sections `engine` and `provisioner`: the form of a plugin's page, read by the plugin's own rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blockhost.errors import AnswerError, BlockhostError
from blockhost.fields import suggest
from blockhost.i18n import gettext as _
from blockhost.manifest import EngineManifest, ProvisionerManifest
from blockhost.placeholders import is_placeholder
from blockhost.plugin_api import WizardModule, export
from installer.answers.form import Refused, all_problems, as_text, problem_of


@dataclass(frozen=True, slots=True)
class PluginAnswer:
    """One plugin's answers: the form as posted, and what the plugin keeps under its session key."""

    kind: str
    name: str
    session_key: str
    form: Mapping[str, str] = field(repr=False)
    values: Mapping[str, Any] = field(repr=False)
    secrets: frozenset[str] = frozenset()

    @classmethod
    def from_form(
        cls,
        kind: str,
        manifest: EngineManifest | ProvisionerManifest,
        module: WizardModule,
        form: Mapping[str, object],
    ) -> PluginAnswer:
        """Read a plugin's form with its `parse_answers`; without one the texts are kept as they are.

        Raises:
            AnswerError: the plugin's complaint; it knows all faults if the plugin collects them.
        """
        texts = {name: as_text(value) for name, value in form.items()}
        parse = export(module, "parse_answers")
        parsed = parse(texts) if parse else texts
        if not isinstance(parsed, Mapping):
            raise AnswerError(kind, _("%s: its parse_answers returned no object") % manifest.name)
        return cls(
            kind, manifest.name, manifest.session_key, texts, dict(parsed), frozenset(manifest.secrets)
        )

    @classmethod
    def from_session(
        cls,
        kind: str,
        manifest: EngineManifest | ProvisionerManifest,
        module: WizardModule | None,
        session: Mapping[str, Any],
    ) -> PluginAnswer:
        """The answers that a session or run header holds, with the form that gives them again."""
        kept = dict(session.get(manifest.session_key) or session.get(kind) or {})
        plain = {name: "" if is_placeholder(value) else value for name, value in kept.items()}
        to_form = export(module, "to_form") if module else None
        form = {
            name: as_text(value)
            for name, value in (to_form(plain) if to_form else plain).items()
            if to_form or not isinstance(value, Mapping)
        }
        return cls(kind, manifest.name, manifest.session_key, form, kept, frozenset(manifest.secrets))

    def to_form(self) -> dict[str, str]:
        """The form that gives this answer again; empty fields are left out."""
        return {name: text for name, text in self.form.items() if text}

    def to_session(self) -> dict[str, Any]:
        """The session's key for this plugin; `split_secrets` takes its secrets out."""
        return {self.session_key: dict(self.values)}


def plugin_schema(name: str, module: WizardModule | None) -> dict[str, Any]:
    """The JSON Schema of a plugin's section: its own form schema plus `name`, closed when it has one."""
    describe = export(module, "answers_schema") if module else None
    own: dict[str, Any] = dict(describe()) if describe else {"type": "object"}
    own.pop("$schema", None)
    own.pop("$id", None)
    properties = {"name": {"const": name}, **own.get("properties", {})}
    own["properties"] = properties
    own["required"] = ["name", *own.get("required", [])]
    if describe:
        own.setdefault("additionalProperties", False)
    return own


def unknown_fields(names: Iterable[str], module: WizardModule) -> list[Refused]:
    """A complaint, with a suggestion, for each name that the plugin's own schema does not have."""
    describe = export(module, "answers_schema")
    if describe is None:
        return []
    known = set(describe().get("properties", {}))
    return [Refused(name, unknown_key(name, known)) for name in names if name not in known]


def unknown_key(name: str, known: Iterable[str]) -> str:
    """The text for a key that nobody knows."""
    meant = suggest(name, known)
    return _("unknown key") + ("; " + _("did you mean %s?") % repr(meant) if meant else "")


def problems_from(section: str, error: BaseException) -> list[Refused]:
    """A plugin's complaint as problems of its section; its own bug is one too, never a traceback."""
    if isinstance(error, AnswerError):
        return [Refused(each.field, problem_of(each), hint=each.hint) for each in all_problems(error)]
    if isinstance(error, BlockhostError):
        return [Refused(section, str(error), hint=error.hint)]
    # The text of an unplanned error may repeat an answer, and the answer may be a secret.
    return [Refused(section, _("the plugin failed while reading its answers (%s)") % type(error).__name__)]
