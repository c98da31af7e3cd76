"""The actions that the root agent's bench calls: an echo, and a nap of three seconds."""

from __future__ import annotations

import time
from typing import Any

from blockhost.root_agent.action import action
from blockhost.root_agent.values import Port, VmName


@action(only_reads=True, is_instant=True)
def echo(port: Port) -> dict[str, Any]:
    return {"port": int(port)}


@action(resource="vm/{name}", is_slow=True)
def nap(name: VmName) -> None:
    time.sleep(3)


ACTIONS = {"echo": echo, "nap": nap}
