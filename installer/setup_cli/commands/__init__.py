"""One command is one file: `add_to(subparsers, common)` and `run(options, terminal) -> exit code`."""

from __future__ import annotations

from installer.setup_cli.commands import (
    apply,
    bundle,
    export,
    logs,
    plan,
    reset,
    retry,
    schema,
    sign,
    status,
    validate,
    verify,
    worker,
)

ALL = (validate, schema, sign, plan, apply, status, logs, retry, reset, export, verify, bundle, worker)
