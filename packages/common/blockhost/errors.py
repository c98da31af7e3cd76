"""Every error this appliance raises on purpose. Its text is safe to show; `hint` says what to try.

* BlockhostError
  * FieldError              foreign data breaks its contract; names source, path and problem
    * ManifestError         a plugin manifest or module is missing or malformed
    * ConfigError           a configuration file is missing or malformed
  * AnswerError             one answer of the operator is not acceptable (also a ValueError)
  * CommandFailed           an external program exited non-zero, hung, or could not be started
  * StepFailed              a step could not do its work
  * RecordNotKept           how a step stands could not be written down
  * DamagedFile             one of our own files no longer holds what was written
  * FrameError              a peer broke the framing of a socket
  * WorkerError             the setup worker refused, or could not be reached
  * CodeError               the one-time code cannot be issued
  * RootAgentError          the root agent refused an action
    * RootAgentConnectionError   the root agent could not be reached
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from blockhost.i18n import gettext as _


class BlockhostError(Exception):
    """Base of all intentional errors: message and hint contain no secret."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        # Subclasses have signatures of their own, and errors cross process borders.
        return (_rebuild, (type(self), self.args, self.__dict__))


def _rebuild(kind: type[BlockhostError], args: tuple[Any, ...], state: dict[str, Any]) -> BlockhostError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class FieldError(BlockhostError):
    """`source` (a file or sender), the `path` inside it, and what is wrong there."""

    def __init__(self, source: str, path: str, problem: str, *, hint: str = "") -> None:
        super().__init__(f"{source}: {path}: {problem}" if path else f"{source}: {problem}", hint=hint)
        self.source = source
        self.path = path
        self.problem = problem


class ManifestError(FieldError):
    """A plugin's manifest or wizard module does not keep the contract."""


class ConfigError(FieldError):
    """A configuration file is missing or malformed."""

    def __init__(self, source: str, path: str, problem: str, *, hint: str = "") -> None:
        remedy = _(
            "Correct it, or restore it from a backup; `blockhost-setup verify` says what else is wrong."
        )
        super().__init__(source, path, problem, hint=hint or remedy)


class AnswerError(BlockhostError, ValueError):
    """One answer is not acceptable: `field` is the form field's name."""

    def __init__(self, field: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.field = field


class CommandFailed(BlockhostError):
    """A program failed. The message names it, never its arguments: those may hold secrets."""

    def __init__(
        self, program: str, exit_code: int | None, stderr: str = "", *, reason: str = "", hint: str = ""
    ) -> None:
        what = reason or _("exit code %(exit_code)s") % {"exit_code": exit_code}
        tail = stderr.strip().splitlines()[-1:] or [""]
        super().__init__(f"{program}: {what}" + (f": {tail[0]}" if tail[0] else ""), hint=hint)
        self.program = program
        self.exit_code = exit_code
        self.stderr = stderr


class StepFailed(BlockhostError):
    """A step could not do its work."""


class RecordNotKept(BlockhostError):
    """The record of the step `step_id` could not be written: nobody may go on from there."""

    def __init__(self, step_id: str, reason: str, *, hint: str = "") -> None:
        super().__init__(
            _("the progress of step %(step_id)s could not be written down: %(reason)s")
            % {"step_id": step_id, "reason": reason},
            hint=hint,
        )
        self.step_id = step_id


class DamagedFile(BlockhostError):
    """`path` does not hold what we wrote there; the hint names the remedy."""

    def __init__(self, path: object, reason: str, *, remedy: str) -> None:
        super().__init__(f"{path}: {reason}", hint=remedy)
        self.path = str(path)


class FrameError(BlockhostError):
    """A frame is too long, cut off, late, or not JSON."""


class WorkerError(BlockhostError):
    """The worker's refusal: `code` for programs, `data` for what belongs to it (a run id)."""

    def __init__(
        self, message: str, *, code: str = "", hint: str = "", data: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.data = dict(data or {})


class CodeError(BlockhostError):
    """The one-time code cannot be issued."""


class RootAgentError(BlockhostError):
    """The root agent refused an action, or the action failed."""


class RootAgentConnectionError(RootAgentError):
    """The root agent could not be reached."""
