"""Section `wallet`: who administers the host, proven by a signature over a public text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from blockhost import command
from blockhost.errors import BlockhostError, CommandFailed
from blockhost.i18n import gettext as _
from blockhost.manifest import EngineManifest
from blockhost.plugin_api import WizardModule, export
from blockhost.secret import Secret
from installer.answers import values
from installer.answers.form import FormField, FormReader, FormRefused, Refused, object_schema, shown
from installer.answers.secrets import ADMIN_SIGNATURE, as_secret

#: An SSH signature is about 300 characters, an EVM one 132; a CI client may bring a longer kind.
LONGEST_SIGNATURE = 8192

FIELDS = (
    FormField(
        "admin_wallet",
        {"type": "string", "minLength": 1, "description": "the wallet's address, in the engine's form"},
        required=True,
        max_length=256,
    ),
    FormField(
        "admin_signature",
        {"type": "string", "minLength": 1, "description": "the wallet's signature over public_secret"},
        required=True,
        secret=True,
        multiline=True,
        max_length=LONGEST_SIGNATURE,
    ),
    FormField(
        "public_secret",
        {"type": "string", "minLength": 1, "description": "the text that is signed, e.g. blockhost-access"},
        required=True,
        max_length=256,
    ),
)


@dataclass(frozen=True, slots=True)
class WalletAnswer:
    """The admin's address and signature. `check` proves that they belong together."""

    address: str
    signature: Secret
    public_secret: str

    FIELDS: ClassVar[tuple[FormField, ...]] = FIELDS
    SCHEMA: ClassVar[dict[str, Any]] = object_schema("wallet", FIELDS)

    @classmethod
    def from_form(cls, form: Mapping[str, object]) -> WalletAnswer:
        """Read the form; the engine's own rules are asked by `check`.

        Raises:
            FormRefused: an AnswerError that knows all faults.
        """
        read = FormReader(form, FIELDS)
        address = read.required("admin_wallet", values.token)
        signature = Secret(read.required("admin_signature", values.line))
        public_secret = read.required("public_secret", values.line)
        read.finish()
        return cls(address, signature, public_secret)

    def to_form(self) -> dict[str, str]:
        """The form that gives this answer again, signature included."""
        return {
            "admin_wallet": self.address,
            "admin_signature": self.signature.reveal(),
            "public_secret": self.public_secret,
        }

    def to_session(self) -> dict[str, Any]:
        """The session's keys for this section; `split_secrets` takes the signature out."""
        return {
            "admin_wallet": self.address,
            "admin_signature": self.signature.reveal(),
            "admin_public_secret": self.public_secret,
        }

    @classmethod
    def from_session(cls, session: Mapping[str, Any]) -> WalletAnswer:
        """The inverse of `to_session`; a kept signature stays a placeholder's text."""
        return cls(
            session.get("admin_wallet", ""),
            as_secret(session.get(ADMIN_SIGNATURE, "")),
            session.get("admin_public_secret", ""),
        )

    def check(self, manifest: EngineManifest, module: WizardModule) -> None:
        """Ask the engine: is this an address, is this a signature, did the one make the other?

        Raises:
            FormRefused: says which of the three is not so.
        """
        problems = list(self._format_problems(manifest, module))
        if not problems and (problem := self._owner_problem(module)):
            problems.append(problem)
        if problems:
            raise FormRefused(problems)

    def _format_problems(self, manifest: EngineManifest, module: WizardModule) -> list[Refused]:
        problems = []
        is_address = export(module, "validate_address") or manifest.constraints.is_address
        if not is_address(self.address):
            like = manifest.constraints.address_placeholder or manifest.constraints.address_pattern or ""
            expected = _("expected an address of %s") % manifest.display_name
            expected += f" ({like})" if like else ""
            problems.append(Refused("admin_wallet", expected + ", " + _("got %s") % shown(self.address)))
        is_signature = export(module, "validate_signature") or manifest.constraints.is_signature
        if not is_signature(self.signature.reveal()):
            problems.append(
                Refused(
                    "admin_signature",
                    _("expected a signature in the form of %(engine)s, got %(length)d other characters")
                    % {"engine": manifest.display_name, "length": len(self.signature.reveal())},
                )
            )
        return problems

    def _owner_problem(self, module: WizardModule) -> Refused | None:
        try:
            signer = self._signer(module)
        except BlockhostError as error:
            return Refused("admin_signature", _("it cannot be checked: %s") % error, hint=error.hint)
        if same_address(signer, self.address):
            return None
        return Refused(
            "admin_signature",
            _("expected a signature by %(wallet)s over %(text)s, got one by %(signer)s")
            % {
                "wallet": self.address,
                "text": shown(self.public_secret),
                "signer": signer or _("nobody known"),
            },
        )

    def _signer(self, module: WizardModule) -> str:
        if recover := export(module, "recover_signer"):
            try:
                return str(recover(self.public_secret, self.signature.reveal()) or "")
            except ValueError as error:  # a plugin's parser; its text may repeat the signature
                raise BlockhostError(_("the engine cannot read it")) from error
        done = command.probe(["bw", "who", self.public_secret, self.signature.reveal()], timeout=30)
        if done.code != 0:
            raise CommandFailed("bw", done.code)
        return done.stdout.strip()


def same_address(one: str, other: str) -> bool:
    """Hexadecimal addresses differ in case by checksum only; all others are compared as they are."""
    if one[:2] in ("0x", "0X"):
        return one.lower() == other.lower()
    return one == other
