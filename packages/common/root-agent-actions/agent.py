"""Whether the agent answers."""

from __future__ import annotations

from blockhost.root_agent.action import action


@action(only_reads=True, is_instant=True)
def ping() -> None:
    """Do nothing, at once."""


ACTIONS = {"ping": ping}
