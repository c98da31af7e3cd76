"""What the panel has done: each through the root agent, with a typed parameter."""

from __future__ import annotations

from blockhost import root_agent
from blockhost.config_files import ADMIN, read_config
from blockhost.nginx_layout import ADMIN_PREFIX


def set_hostname(name: str) -> None:
    """Name the machine.

    Raises:
        RootAgentError: not a name, or the agent does not answer.
    """
    root_agent.call("hostname-set", name=name)


def path_prefix() -> str:
    """Where the panel is served."""
    try:
        document = read_config(ADMIN)
    except FileNotFoundError:
        return ADMIN_PREFIX
    return str(document.get("path_prefix", ADMIN_PREFIX)) if isinstance(document, dict) else ADMIN_PREFIX


def set_path_prefix(prefix: str) -> str:
    """Serve the panel elsewhere; the path it has now.

    Raises:
        RootAgentError: not a path, nginx refused it, or the agent does not answer.
    """
    root_agent.call("admin-path-update", path_prefix=prefix)
    return prefix
