"""Everything a step may use: the configuration, secrets, programs, and its voice to the operator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from blockhost import command, paths
from blockhost.command import Argument, Completed
from blockhost.errors import StepFailed
from blockhost.i18n import gettext as _
from blockhost.secret import Secret


class Reporter(Protocol):
    """How a step reaches the process that keeps its record. `intent` returns once it is durable."""

    def progress(self, fraction: float, message: str) -> None: ...

    def log(self, line: str) -> None: ...

    def intent(self, data: dict[str, Any]) -> None: ...


class StepContext:
    """Handed to `check`, `plan`, `apply` and `undo` of a step.

    `config` holds the answers under the contract's keys; what a step changes in it is kept for
    later steps and survives a restart. `answers` is another name for it, for reading.
    """

    def __init__(
        self,
        *,
        step_id: str,
        config: dict[str, Any],
        secrets: Mapping[str, Secret] | None = None,
        reporter: Reporter | None = None,
        attempt: int = 1,
        previous_intent: dict[str, Any] | None = None,
    ) -> None:
        self.step_id = step_id
        self.config = config
        self.attempt = attempt
        self.previous_intent = previous_intent
        self.data: dict[str, Any] | None = None
        self._secrets = dict(secrets or {})
        self._reporter = reporter or SilentReporter()

    @property
    def answers(self) -> Mapping[str, Any]:
        return self.config

    @property
    def config_dir(self) -> Path:
        return paths.config_dir()

    @property
    def state_dir(self) -> Path:
        return paths.state_dir()

    def run(self, argv: Sequence[Argument], **options: Any) -> str:
        """`blockhost.command.run`: stdout, or CommandFailed."""
        return command.run(argv, **options)

    def probe(self, argv: Sequence[Argument], **options: Any) -> Completed:
        """`blockhost.command.probe`: the exit code is an answer."""
        return command.probe(argv, **options)

    def stream(self, argv: Sequence[Argument], *, timeout: float, **options: Any) -> None:
        """Run long work whose output becomes the step's log."""
        command.stream(argv, self.log, timeout=timeout, **options)

    def secret(self, name: str) -> Secret:
        """A secret that the operator gave, from the vault.

        Raises:
            StepFailed: no such secret was given.
        """
        try:
            return self._secrets[name]
        except KeyError:
            raise StepFailed(
                _("the secret %(name)r was not given") % {"name": name}, hint=_("Answer its page again")
            ) from None

    def has_secret(self, name: str) -> bool:
        return name in self._secrets

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the step is: 0.0 to 1.0, and what it is doing."""
        self._reporter.progress(min(1.0, max(0.0, fraction)), message)

    def log(self, message: str) -> None:
        """One line for the step's log; secrets are removed from it."""
        self._reporter.log(message)

    def intent(self, data: dict[str, Any]) -> None:
        """Write down what is about to be done, durably, before an effect that cannot be repeated.

        After a crash the next attempt finds it as `previous_intent` and looks outside first.
        """
        self._reporter.intent(data)
        self.previous_intent = data

    def result(self, data: dict[str, Any]) -> None:
        """The step's result: `steps[<id>].data` of the status API."""
        self.data = data


class SilentReporter:
    """For `check` and `plan` called outside a run: nobody listens."""

    def progress(self, fraction: float, message: str) -> None:
        """Nothing to tell."""

    def log(self, line: str) -> None:
        """Nothing to tell."""

    def intent(self, data: dict[str, Any]) -> None:  # noqa: ARG002
        raise StepFailed(_("an irreversible effect was attempted outside a run"))
