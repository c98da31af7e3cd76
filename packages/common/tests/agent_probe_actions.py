"""Actions for the agent's own tests: quick, slow, broken, and for another account."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from blockhost.root_agent.action import action
from blockhost.root_agent.values import Port, VmName

EFFECTS = Path("effects")


@action(callers=("root", "daemon"), only_reads=True, is_instant=True)
def echo(port: Port) -> dict[str, Any]:
    return {"port": int(port)}


@action(resource="vm/{name}", is_slow=True)
def nap(name: VmName, port: Port) -> None:
    time.sleep(int(port) / 1000)


@action(resource="effects")
def effect(name: VmName) -> None:
    with EFFECTS.open("a") as file:
        file.write(f"{name}\n")


@action
def broken() -> None:
    raise KeyError("a secret that must not leave")


@action(only_reads=True)
def long_answer() -> dict[str, Any]:
    return {"text": "x" * 100_000}


@action(only_reads=True)
def odd_answer() -> dict[str, Any]:
    return {"text": object()}


def plain_nap(params: dict[str, Any]) -> dict[str, Any]:
    time.sleep(20)
    return {"ok": True}


ACTIONS = {
    "echo": echo,
    "nap": nap,
    "effect": effect,
    "broken": broken,
    "long-answer": long_answer,
    "odd-answer": odd_answer,
    "plain": lambda params: {"ok": params.get("fine") is True, "error": "not fine", "seen": sorted(params)},
    "plain-nap": plain_nap,
    "plain-wrong": lambda params: None,
}
