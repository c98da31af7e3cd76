"""How a plugin introduces itself: `engine.json` and `provisioner.json`, parsed once, at the edge.

The JSON Schemas of both are published in /usr/share/blockhost/schemas and held against these
classes by a test. Unknown keys are kept in `unknown_keys`: check-plugin warns, the host runs on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from blockhost import paths
from blockhost.errors import FieldError, ManifestError
from blockhost.fields import MAX_BYTES, Fields, load_json_document
from blockhost.i18n import gettext as _

NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
SESSION_KEY = re.compile(r"[a-z][a-z0-9_]{0,31}")
STEP_ID = re.compile(r"[a-z][a-z0-9_]{0,47}")
PROGRAM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
COLOUR = re.compile(
    r"#[0-9A-Fa-f]{3,8}|[A-Za-z]{3,24}|(rgb|rgba|hsl|hsla|oklch|oklab|lab|lch)\([0-9A-Za-z.,%/ +-]{1,64}\)"
)

#: Session keys that the core uses itself; a plugin must not claim them.
RESERVED_SESSION_KEYS = frozenset(
    {
        "authenticated",
        "admin_wallet",
        "admin_signature",
        "admin_public_secret",
        "selected_disk",
        "network",
        "ipv6",
        "admin_commands",
        "https",
    }
)

VERBS = (
    "create",
    "destroy",
    "start",
    "stop",
    "kill",
    "status",
    "list",
    "metrics",
    "throttle",
    "build-template",
    "gc",
    "resume",
    "update-gecos",
    "guest-exec",
)


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a plugin says it needs: shown before consent, enforced afterwards."""

    root_actions: tuple[str, ...] = ()
    egress: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    units: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Constraints:
    """How this engine's addresses, signatures and tokens look; an absent pattern checks nothing."""

    address_pattern: str | None = None
    signature_pattern: str | None = None
    token_pattern: str | None = None
    native_token: str = ""
    native_token_label: str = ""
    address_placeholder: str = ""

    def is_address(self, text: str) -> bool:
        return _matches(self.address_pattern, text)

    def is_signature(self, text: str) -> bool:
        return _matches(self.signature_pattern, text)


@dataclass(frozen=True, slots=True)
class EngineManifest:
    """A parsed `engine.json`."""

    name: str
    version: str
    display_name: str
    wizard_module: str
    finalization_steps: tuple[str, ...]
    post_finalization_steps: tuple[str, ...]
    session_key: str
    accent_color: str | None = None
    first_boot_hook: str | None = None
    runtimes: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    constraints: Constraints = Constraints()
    permissions: Permissions = Permissions()
    source: str = ""
    unknown_keys: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, document: object, *, source: str = "engine.json") -> EngineManifest:
        """Read a manifest.

        Raises:
            ManifestError: names the file, the path inside it, and what was expected.
        """
        with _Complaints(source):
            root = Fields(document, source=source)
            setup, keys = root.child("setup"), root.child("config_keys")
            permissions, constraints = root.optional_child("permissions"), root.optional_child("constraints")
            manifest = cls(
                **_identity(root),
                wizard_module=_pattern(setup, "wizard_module", DOTTED, _("a dotted module path")),
                first_boot_hook=_absolute(setup, "first_boot_hook", required=False),
                finalization_steps=_step_ids(setup, "finalization_steps"),
                post_finalization_steps=_step_ids(setup, "post_finalization_steps"),
                runtimes=_programs(setup, "runtimes"),
                session_key=_session_key(keys),
                secrets=keys.strings("secrets", ()),
                constraints=_constraints(constraints),
                permissions=_permissions(permissions),
                source=source,
            )
            return _with_unknown(manifest, root, setup, keys, permissions, constraints)


@dataclass(frozen=True, slots=True)
class ProvisionerManifest:
    """A parsed `provisioner.json`."""

    name: str
    version: str
    display_name: str
    commands: Mapping[str, str]
    detect: str
    wizard_module: str
    finalization_steps: tuple[str, ...]
    root_agent_actions: str
    session_key: str
    provisioner_config: tuple[str, ...]
    first_boot_hook: str | None = None
    accent_color: str | None = None
    secrets: tuple[str, ...] = ()
    permissions: Permissions = Permissions()
    source: str = ""
    unknown_keys: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def parse(cls, document: object, *, source: str = "provisioner.json") -> ProvisionerManifest:
        """Read a manifest.

        Raises:
            ManifestError: names the file, the path inside it, and what was expected.
        """
        with _Complaints(source):
            root = Fields(document, source=source)
            setup, keys = root.child("setup"), root.child("config_keys")
            permissions = root.optional_child("permissions")
            manifest = cls(
                **_identity(root),
                commands=_commands(root),
                detect=_pattern(setup, "detect", PROGRAM, _("the name of an executable")),
                wizard_module=_pattern(setup, "wizard_module", DOTTED, _("a dotted module path")),
                first_boot_hook=_absolute(setup, "first_boot_hook", required=True),
                finalization_steps=_step_ids(setup, "finalization_steps"),
                root_agent_actions=_absolute(root, "root_agent_actions", required=True) or "",
                session_key=_session_key(keys),
                provisioner_config=keys.strings("provisioner_config"),
                secrets=keys.strings("secrets", ()),
                permissions=_permissions(permissions),
                source=source,
            )
            return _with_unknown(manifest, root, setup, keys, permissions)


def load_engine(path: Path | None = None) -> EngineManifest:
    """The installed engine's manifest.

    Raises:
        ManifestError: none is installed, or it is malformed.
    """
    path = path or paths.share_dir() / "engine.json"
    return EngineManifest.parse(_load(path), source=str(path))


def load_provisioner(path: Path | None = None) -> ProvisionerManifest:
    """The installed provisioner's manifest.

    Raises:
        ManifestError: none is installed, or it is malformed.
    """
    path = path or paths.share_dir() / "provisioner.json"
    return ProvisionerManifest.parse(_load(path), source=str(path))


class _Complaints:
    """Turns the typed reader's complaints into manifest complaints."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, FieldError) and not isinstance(error, ManifestError):
            raise ManifestError(error.source, error.path, error.problem) from None


def _load(path: Path) -> object:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        hint = (
            _("Install an engine and a provisioner package") if isinstance(error, FileNotFoundError) else ""
        )
        raise ManifestError(str(path), "", error.strerror or str(error), hint=hint) from None
    with _Complaints(str(path)):
        return load_json_document(raw, source=str(path))


def _identity(root: Fields) -> dict[str, Any]:
    colour = root.optional("accent_color", str, "") or None
    if colour is not None and not COLOUR.fullmatch(colour):
        root.fail("accent_color", _("expected a CSS colour, got %(colour)r") % {"colour": colour})
    return {
        "name": _pattern(root, "name", NAME, _("lower-case letters, digits and dashes")),
        "version": _not_empty(root, "version"),
        "display_name": _not_empty(root, "display_name"),
        "accent_color": colour,
    }


def _not_empty(fields: Fields, key: str) -> str:
    value = fields.take(key, str)
    if not value.strip():
        fields.fail(key, _("expected a text, got an empty one"))
    return value


def _pattern(fields: Fields, key: str, pattern: re.Pattern[str], expected: str) -> str:
    value = fields.take(key, str)
    if not pattern.fullmatch(value):
        fields.fail(key, _("expected %(expected)s, got %(value)r") % {"expected": expected, "value": value})
    return value


def _absolute(fields: Fields, key: str, *, required: bool) -> str | None:
    value = fields.take(key, str) if required else fields.optional(key, str, "")
    if not value and not required:
        return None
    if not value.startswith("/") or ".." in Path(value).parts:
        fields.fail(key, _("expected an absolute path, got %(value)r") % {"value": value})
    return value


def _session_key(keys: Fields) -> str:
    value = _pattern(keys, "session_key", SESSION_KEY, _("lower-case letters, digits and underscores"))
    if value in RESERVED_SESSION_KEYS:
        keys.fail("session_key", _("%(value)r belongs to the installer") % {"value": value})
    return value


def _step_ids(setup: Fields, key: str) -> tuple[str, ...]:
    values = setup.strings(key)
    for index, value in enumerate(values):
        if not STEP_ID.fullmatch(value):
            setup.fail(f"{key}[{index}]", _("expected a step id, got %(value)r") % {"value": value})
        if value in values[:index]:
            setup.fail(f"{key}[{index}]", _("step %(value)r stands here twice") % {"value": value})
    return values


def _programs(setup: Fields, key: str) -> tuple[str, ...]:
    values = setup.strings(key, ())
    for index, value in enumerate(values):
        if not PROGRAM.fullmatch(value):
            setup.fail(
                f"{key}[{index}]", _("expected the name of an executable, got %(value)r") % {"value": value}
            )
    return values


def _commands(root: Fields) -> dict[str, str]:
    commands = root.string_map("commands")
    for verb, program in commands.items():
        if not PROGRAM.fullmatch(program):
            root.fail(
                f"commands.{verb}",
                _("expected the name of an executable, got %(program)r") % {"program": program},
            )
    return commands


def _constraints(fields: Fields) -> Constraints:
    patterns = {
        key: fields.optional(key, str, "") or None
        for key in ("address_pattern", "signature_pattern", "token_pattern")
    }
    for key, pattern in patterns.items():
        try:
            re.compile(pattern or "")
        except (re.error, RecursionError, OverflowError) as error:
            fields.fail(key, _("expected a regular expression: %(error)s") % {"error": error})
    return Constraints(
        **patterns,
        native_token=fields.optional("native_token", str, ""),
        native_token_label=fields.optional("native_token_label", str, ""),
        address_placeholder=fields.optional("address_placeholder", str, ""),
    )


def _permissions(fields: Fields) -> Permissions:
    return Permissions(
        root_actions=fields.strings("root_actions", ()),
        egress=fields.strings("egress", ()),
        writes=fields.strings("writes", ()),
        units=fields.strings("units", ()),
    )


_Manifest = TypeVar("_Manifest", EngineManifest, ProvisionerManifest)


def _with_unknown(manifest: _Manifest, *parts: Fields) -> _Manifest:
    unknown = tuple(f"{part.path}.{key}" for part in parts for key in part.unknown())
    object.__setattr__(manifest, "unknown_keys", unknown)  # frozen for readers, complete before they see it
    return manifest


def _matches(pattern: str | None, text: str) -> bool:
    return pattern is None or re.fullmatch(pattern, text) is not None
