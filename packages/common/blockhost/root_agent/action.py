"""`@action`: one privileged operation whose parameter types are the allow-list.

    @action(resource="bridge")
    def ip6_route_add(address: HostAddress, dev: BridgePort) -> None: ...

    ACTIONS = {"ip6-route-add": ip6_route_add}

The annotations are called with what the request holds; a ValueError there refuses the request
before anything runs. Parameters without a default are required, unknown ones are refused.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, overload

from blockhost.errors import RootAgentError
from blockhost.i18n import gettext as _

Handler = Callable[..., "dict[str, Any] | None"]

#: The accounts that may call an action unless it says otherwise.
DEFAULT_CALLERS = ("root", "blockhost")
#: Parameters of plain handlers (not typed by `@action`) that must not reach the log.
SECRET_WORDS = ("key", "secret", "password", "passphrase", "token", "mnemonic", "signature")
LONGEST_LOGGED = 200


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `make` builds its value from JSON or raises ValueError."""

    name: str
    make: Callable[[Any], Any]
    is_required: bool

    @property
    def expected(self) -> str:
        """What is accepted, in words."""
        if expected := getattr(self.make, "expected", None):
            return str(expected())
        if hasattr(self.make, "LOWEST"):
            low, high = (getattr(self.make, bound) for bound in ("LOWEST", "HIGHEST"))
            return _("a whole number from %(low)s to %(high)s") % {"low": low, "high": high}
        return (self.make.__doc__ or "").strip().partition("\n")[0]


@dataclass(frozen=True, slots=True)
class Action:
    """An operation with what the server must know to call it."""

    handler: Handler
    parameters: tuple[Parameter, ...]
    callers: tuple[str, ...] = DEFAULT_CALLERS
    #: Calls with the same resource run one after another; `{name}` is filled from the parameters.
    resource: str = ""
    #: May take seconds: runs in workers of its own, so that quick actions never wait for it.
    is_slow: bool = False
    #: Changes nothing: its log line needs no fsync before it runs.
    only_reads: bool = False
    #: Answers from what it has in memory: called by the thread that reads all connections.
    is_instant: bool = False
    is_plain: bool = False
    #: Parameters of which the log shows only length and checksum.
    long_names: frozenset[str] = frozenset()

    def build(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Typed arguments for the handler.

        Raises:
            RootAgentError: names the parameter and what is expected; never the value.
        """
        if self.is_plain:
            return {"params": dict(params)}
        arguments = {}
        for parameter in self.parameters:
            if parameter.name not in params:
                if parameter.is_required:
                    raise RootAgentError(_("missing parameter %(name)s") % {"name": parameter.name})
                continue
            try:
                arguments[parameter.name] = parameter.make(params[parameter.name])
            except ValueError as error:
                raise RootAgentError(f"{parameter.name}: {error}") from None
        if len(arguments) < len(params):
            unknown = sorted(params.keys() - arguments.keys())
            raise RootAgentError(_("unknown parameter %(file)s") % {"file": _shown(unknown[0])})
        return arguments

    def lock_name(self, arguments: Mapping[str, Any]) -> str:
        """What this call must have for itself, or "" when nothing."""
        return self.resource.format_map(arguments) if self.resource else ""

    def __call__(self, **arguments: Any) -> dict[str, Any]:
        return self.handler(**arguments) or {}


@overload
def action(handler: Handler, /) -> Action: ...
@overload
def action(
    *,
    callers: tuple[str, ...] = ...,
    resource: str = ...,
    is_slow: bool = ...,
    only_reads: bool = ...,
    is_instant: bool = ...,
) -> Callable[[Handler], Action]: ...
def action(handler: Handler | None = None, /, **options: Any) -> Action | Callable[[Handler], Action]:
    """Make an Action of a function. Every parameter needs an annotation that refuses bad values."""

    def make(function: Handler) -> Action:
        parameters = tuple(_parameters(function))
        long = frozenset(one.name for one in parameters if getattr(one.make, "IS_LONG", False))
        made = Action(function, parameters, long_names=long, **options)
        if made.is_instant and (made.resource or made.is_slow or not made.only_reads):
            raise TypeError(f"{function.__name__}: what changes, waits or needs a resource is not instant")
        return made

    return make(handler) if handler is not None else make


def plain(handler: Callable[[dict[str, Any]], dict[str, Any]]) -> Action:
    """Accept a contract handler `(params) -> {"ok": bool, …}`; it checks its parameters itself."""

    def call(params: dict[str, Any]) -> dict[str, Any]:
        answer = handler(params)
        if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
            raise RootAgentError(_("the action did not answer with ok: true or false"))
        if not answer["ok"]:
            raise RootAgentError(str(answer.get("error", _("the action failed"))))
        return {key: value for key, value in answer.items() if key != "ok"}

    return Action(call, (), is_slow=True, is_plain=True)


def redacted(params: Mapping[str, Any], action: Action | None = None) -> dict[str, Any]:
    """What the log may show of a request's parameters."""
    if action is None:  # nothing is known about it, so nothing but the names is shown
        return {_shown(name): "…" for name in list(params)[:16]}
    return {
        _shown(name): "[redacted]" if _is_secret(name) else _loggable(value, name in action.long_names)
        for name, value in list(params.items())[:32]
    }


def _parameters(function: Handler) -> list[Parameter]:
    hints = typing.get_type_hints(function)
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name not in hints or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{function.__name__}: parameter {name} has no type of its own")
        kind = _without_none(hints[name])
        # A bare str or dict would accept anything: the type must be one that can refuse.
        if not isinstance(kind, type) or kind.__module__ in ("builtins", "typing"):
            raise TypeError(f"{function.__name__}: the type of {name} does not restrict its values")
        found.append(Parameter(name, kind, parameter.default is parameter.empty))
    return found


def _without_none(kind: Any) -> Any:
    """`X` for `X | None`: an absent parameter keeps its default, and null is not a value of X."""
    kinds = [each for each in typing.get_args(kind) if each is not type(None)]
    return kinds[0] if len(kinds) == 1 and type(None) in typing.get_args(kind) else kind


def _loggable(value: Any, is_long: bool) -> Any:
    if isinstance(value, int) and abs(value) < 2**63:
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=repr)
    if is_long or len(text) > LONGEST_LOGGED:
        raw = text.encode("utf-8", "surrogatepass")
        return f"[{len(raw)} bytes, sha256 {hashlib.sha256(raw).hexdigest()}]"
    return value


@lru_cache(256)
def _is_secret(name: str) -> bool:
    return any(word in name.lower() for word in SECRET_WORDS)


@lru_cache(256)
def _shown(name: str) -> str:
    return ascii(name[:40])[1:-1]
