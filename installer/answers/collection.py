"""All answers together: their order, their pages, the session they make and the steps' configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from blockhost.errors import AnswerError
from blockhost.i18n import gettext as _
from blockhost.manifest import EngineManifest, ProvisionerManifest
from blockhost.plugin_api import WizardModule
from installer.answers.admin_commands import AdminCommandsAnswer
from installer.answers.ipv6 import Ipv6Answer
from installer.answers.network import NetworkAnswer
from installer.answers.plugin import PluginAnswer
from installer.answers.secrets import ADMIN_SIGNATURE
from installer.answers.storage import StorageAnswer
from installer.answers.wallet import WalletAnswer

if TYPE_CHECKING:
    from blockhost.secret import Secret

#: The wizard's order; the keys of an answers file.
SECTIONS = ("wallet", "network", "storage", "engine", "provisioner", "ipv6", "admin_commands")
VERSION = 1


class Plugin(Protocol):
    """What discovery finds: a parsed manifest and the module it names."""

    @property
    def manifest(self) -> Any: ...

    @property
    def module(self) -> WizardModule: ...


class Plugins(Protocol):
    """The host's engine and provisioner, as far as they are installed and sound."""

    @property
    def engine(self) -> Any: ...

    @property
    def provisioner(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class OwnerKey:
    """A wallet given as a private key on the client's disk: the client signs with it, nobody stores it."""

    path: Path
    public_secret: str

    def to_form(self) -> dict[str, str]:
        raise AnswerError(ADMIN_SIGNATURE, _("the wallet is a key file: sign with it first"))

    def to_session(self) -> dict[str, Any]:
        raise AnswerError(ADMIN_SIGNATURE, _("the wallet is a key file: sign with it first"))


Answer = (
    WalletAnswer | OwnerKey | NetworkAnswer | StorageAnswer | PluginAnswer | Ipv6Answer | AdminCommandsAnswer
)


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that the operator says, typed."""

    wallet: WalletAnswer | OwnerKey
    network: NetworkAnswer
    storage: StorageAnswer
    engine: PluginAnswer
    provisioner: PluginAnswer
    ipv6: Ipv6Answer
    admin_commands: AdminCommandsAnswer

    @classmethod
    def from_file(cls, path: Path, plugins: Plugins) -> Answers:
        """Read an answers file.

        Raises:
            AnswersFileError: names file and line of every fault.
        """
        from installer.answers.file import read_answers  # noqa: PLC0415  it builds Answers

        return read_answers(path, plugins)

    @classmethod
    def from_session(
        cls,
        session: Mapping[str, Any],
        engine: EngineManifest,
        provisioner: ProvisionerManifest,
        *,
        engine_module: WizardModule | None = None,
        provisioner_module: WizardModule | None = None,
    ) -> Answers:
        """The answers that a session or a run header holds; placeholders of secrets become empty.

        Raises:
            AnswerError: the session is not complete.
        """
        return cls(
            WalletAnswer.from_session(session),
            NetworkAnswer.from_session(session),
            StorageAnswer.from_session(session),
            PluginAnswer.from_session("engine", engine, engine_module, session),
            PluginAnswer.from_session("provisioner", provisioner, provisioner_module, session),
            Ipv6Answer.from_session(session),
            AdminCommandsAnswer.from_session(session),
        )

    #: A step's configuration has the session's keys, so it is read alike.
    from_config = from_session

    @property
    def sections(self) -> dict[str, Answer]:
        """The sections by name, in the wizard's order."""
        return {name: getattr(self, name) for name in SECTIONS}

    def pages(self) -> list[tuple[str, str, dict[str, str]]]:
        """What a client posts, in order: section, route, form."""
        names = {
            "engine": self.engine.name,
            "provisioner": self.provisioner.name,
            "admin_commands": "admin-commands",
        }
        return [
            (section, f"/wizard/{names.get(section, section)}", answer.to_form())
            for section, answer in self.sections.items()
        ]

    def to_session(self) -> dict[str, Any]:
        """The session's keys (contracts/wizard-http.md), secrets in the clear: see `split_secrets`."""
        session: dict[str, Any] = {}
        for answer in self.sections.values():
            session.update(answer.to_session())
        return session

    def to_config(
        self, engine_manifest: EngineManifest, provisioner_manifest: ProvisionerManifest
    ) -> dict[str, Any]:
        """The configuration that steps get."""
        return config_from_session(self.to_session(), engine_manifest, provisioner_manifest)

    def signed(self, sign: Callable[[OwnerKey], tuple[str, Secret]]) -> Answers:
        """These answers with the wallet's key used; unchanged where address and signature were given."""
        if not isinstance(self.wallet, OwnerKey):
            return self
        address, signature = sign(self.wallet)
        return replace(self, wallet=WalletAnswer(address, signature, self.wallet.public_secret))


def config_from_session(
    session: Mapping[str, Any], engine_manifest: EngineManifest, provisioner_manifest: ProvisionerManifest
) -> dict[str, Any]:
    """A session's sections as the configuration of steps (contracts/plugins.md).

    Placeholders stay: whoever runs a step resolves them.
    """
    names = (
        "admin_wallet", ADMIN_SIGNATURE, "admin_public_secret", "network", "selected_disk",
        engine_manifest.session_key, "ipv6", "admin_commands",
    )  # fmt: skip
    config = {name: session[name] for name in names if name in session}
    config["provisioner"] = session.get(provisioner_manifest.session_key, session.get("provisioner", {}))
    config["_engine"] = manifest_document(engine_manifest)
    return config


def manifest_document(manifest: EngineManifest) -> dict[str, Any]:
    """The manifest as JSON, in the shape of `engine.json`: what older plugins' steps expect."""
    return {
        "name": manifest.name,
        "version": manifest.version,
        "display_name": manifest.display_name,
        "accent_color": manifest.accent_color,
        "setup": {
            "wizard_module": manifest.wizard_module,
            "first_boot_hook": manifest.first_boot_hook,
            "finalization_steps": list(manifest.finalization_steps),
            "post_finalization_steps": list(manifest.post_finalization_steps),
        },
        "config_keys": {"session_key": manifest.session_key, "secrets": list(manifest.secrets)},
        "constraints": {key: value for key, value in asdict(manifest.constraints).items() if value},
        "permissions": {key: list(value) for key, value in asdict(manifest.permissions).items() if value},
    }
