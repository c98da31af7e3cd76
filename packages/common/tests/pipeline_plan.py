"""Steps that behave badly in every way, for the tests of the child launcher."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

from blockhost.errors import StepFailed
from blockhost.pipeline import Step, StepContext


def good(context: StepContext) -> None:
    print("printed by the step")
    context.progress(0.5, "half")
    context.config["colour"] = "blue"
    context.result({"answer": 42})


def fails(context: StepContext) -> None:
    raise StepFailed("no gateway", hint="plug it in")


def bug(context: StepContext) -> None:
    raise KeyError("oops")


def leaves(context: StepContext) -> None:
    sys.exit(0)


def vanishes(context: StepContext) -> None:
    os._exit(0)


def segfaults(context: StepContext) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(context: StepContext) -> None:
    while True:
        time.sleep(60)


def floods(context: StepContext) -> None:
    for _ in range(20_000):
        os.write(1, b"x" * 999 + b"\n")


def daemonizes(context: StepContext) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(context.config["pid_file"]).write_text(str(os.getpid()))
            time.sleep(600)
        os._exit(0)
    while not Path(context.config["pid_file"]).exists():
        time.sleep(0.01)


def serves(context: StepContext) -> None:
    """Leaves a daemon that has a worker, as a web server does."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            Path(context.config["pid_file"]).write_text(str(os.getpid()))
            time.sleep(600)
        time.sleep(600)
    while not Path(context.config["pid_file"]).exists():
        time.sleep(0.01)


def hangs_with_daemon(context: StepContext) -> None:
    daemonizes(context)
    hangs(context)


def tells_secret(context: StepContext) -> None:
    print("the key is", context.secret("key").reveal())
    context.log("again " + context.secret("key").reveal())
    raise StepFailed("bad key " + context.secret("key").reveal())


def intends(context: StepContext) -> None:
    if context.previous_intent is None:
        context.intent({"nonce": 7})
    context.result({"nonce": context.previous_intent})


def not_json(context: StepContext) -> None:
    context.config["handle"] = object()


def no_effect(context: StepContext) -> None:
    """Its check never holds."""


def steps() -> list[Step]:
    functions = (
        good, fails, bug, leaves, vanishes, segfaults, hangs, floods, daemonizes, serves,
        hangs_with_daemon, tells_secret, intends, not_json,
    )  # fmt: skip
    made = [Step(f.__name__, f.__name__, apply=f, timeout_s=20) for f in functions]
    return [*made, Step("no_effect", "", apply=no_effect, check=lambda context: False)]


def call_me(context: StepContext, arguments: dict[str, object]) -> dict[str, object]:
    return {"got": arguments, "config": context.config, "root": os.environ.get("BLOCKHOST_ROOT")}
