"""Client of the root agent: what an unprivileged service calls to have root do one typed thing."""

from __future__ import annotations

from typing import Any

from blockhost import framing, paths
from blockhost.errors import FrameError, RootAgentConnectionError, RootAgentError
from blockhost.i18n import gettext as _
from blockhost.i18n import gettext_noop as N_

__all__ = [
    "RootAgentConnectionError",
    "RootAgentError",
    "addressbook_save",
    "call",
    "generate_wallet",
    "ip6_route_add",
    "ip6_route_del",
    "socket_path",
]


_LOOK = N_("Is it running? systemctl status blockhost-root-agent")


def socket_path() -> Any:
    """Where the agent listens."""
    return paths.run_dir() / "root-agent.sock"


def call(action: str, timeout: float = 300, **params: Any) -> dict[str, Any]:
    """Have the agent run `action`; its answer without the `ok`.

    Raises:
        RootAgentError: the agent refused, or the action failed; says why.
        RootAgentConnectionError: no agent, or no answer within `timeout` seconds. Whether the
            action ran is then unknown: all actions may be repeated.
    """
    try:
        answer = framing.call(socket_path(), {"action": action, "params": params}, timeout=timeout)
    except FrameError as error:
        raise RootAgentConnectionError(
            _("root agent: %(error)s") % {"error": error}, hint=_(_LOOK)
        ) from error
    except PermissionError as error:
        raise RootAgentConnectionError(
            _("this account may not talk to the root agent"),
            hint=_("Run it as root or as the user blockhost."),
        ) from error
    except OSError as error:
        raise RootAgentConnectionError(
            _("the root agent does not answer on %(socket_path)s: %(reason)s")
            % {"socket_path": socket_path(), "reason": error.strerror or error},
            hint=_(_LOOK),
        ) from error
    if answer.get("ok") is not True:
        raise RootAgentError(str(answer.get("error", "refused")), hint=str(answer.get("hint", "")))
    return {key: value for key, value in answer.items() if key != "ok"}


def ip6_route_add(address: str, dev: str) -> dict[str, Any]:
    """Route one VM's IPv6 address (`…/128`) to its bridge."""
    return call("ip6-route-add", address=address, dev=dev)


def ip6_route_del(address: str, dev: str) -> dict[str, Any]:
    """Remove the route of one VM's address; a missing one is fine."""
    return call("ip6-route-del", address=address, dev=dev)


def addressbook_save(entries: dict[str, Any]) -> dict[str, Any]:
    """Replace the addressbook: `{role: {"address", "keyfile"?}}`."""
    return call("addressbook-save", entries=entries)


def generate_wallet(name: str) -> dict[str, Any]:
    """Make a key for a new wallet; `{"address", "keyfile"}`."""
    return call("generate-wallet", name=name)
