"""The one way to the active provisioner: its manifest's commands, by verb."""

from __future__ import annotations

from collections.abc import Sequence

from blockhost import command
from blockhost.command import Completed
from blockhost.errors import BlockhostError, ManifestError
from blockhost.i18n import gettext as _
from blockhost.manifest import ProvisionerManifest, load_provisioner

#: A VM may boot under emulation, and the template may have to be built first.
DEFAULT_TIMEOUT_S = 1800.0


class ProvisionerDispatcher:
    """What the installed provisioner is called and can do. Without one, `is_loaded` is False."""

    def __init__(self, manifest: ProvisionerManifest | None, problem: str = "") -> None:
        self.manifest = manifest
        self._problem = problem or _("no provisioner is installed")

    @property
    def is_loaded(self) -> bool:
        return self.manifest is not None

    @property
    def name(self) -> str:
        return self._loaded().name

    @property
    def display_name(self) -> str:
        return self._loaded().display_name

    @property
    def version(self) -> str:
        return self._loaded().version

    @property
    def wizard_module(self) -> str:
        return self._loaded().wizard_module

    @property
    def finalization_steps(self) -> tuple[str, ...]:
        return self._loaded().finalization_steps

    @property
    def first_boot_hook(self) -> str | None:
        return self._loaded().first_boot_hook

    @property
    def session_key(self) -> str:
        return self._loaded().session_key

    @property
    def root_agent_actions(self) -> str:
        return self._loaded().root_agent_actions

    def get_command(self, verb: str) -> str:
        """The executable for `verb`.

        Raises:
            BlockhostError: the provisioner has none.
        """
        try:
            return self._loaded().commands[verb]
        except KeyError:
            raise BlockhostError(
                _("provisioner %(name)s has no command for %(verb)s") % {"name": self.name, "verb": verb}
            ) from None

    def run(self, verb: str, args: Sequence[str] = (), *, timeout: float = DEFAULT_TIMEOUT_S) -> Completed:
        """Run the command for `verb`; its exit code is an answer (`stderr` says why).

        Raises:
            BlockhostError: there is no such command.
            CommandFailed: it could not be started, or gave no answer within `timeout` seconds.
        """
        return command.probe([self.get_command(verb), *args], timeout=timeout)

    def _loaded(self) -> ProvisionerManifest:
        if self.manifest is None:
            raise BlockhostError(self._problem)
        return self.manifest


def failure(verb: str, done: Completed) -> BlockhostError:
    """What a command that failed said, as our own do: warnings, the reason, and indented what to try."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    hints: list[str] = []
    while lines and lines[-1][0].isspace():
        hints.insert(0, lines.pop().strip())
    reason = (
        lines[-1].strip() if lines else _("%(verb)s: exit code %(code)s") % {"verb": verb, "code": done.code}
    )
    return BlockhostError(reason[:500], hint=" ".join(hints)[:500])


def get_provisioner() -> ProvisionerDispatcher:
    """The installed provisioner; never raises."""
    try:
        return ProvisionerDispatcher(load_provisioner())
    except ManifestError as error:
        return ProvisionerDispatcher(None, str(error))
