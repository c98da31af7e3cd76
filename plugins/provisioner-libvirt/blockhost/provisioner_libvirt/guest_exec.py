"""Running a program in a guest, from an unprivileged process: through the root agent, waiting outside."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass

from blockhost import root_agent
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.provisioner_libvirt.power import require_machine
from blockhost.vm_db import VMDatabase

#: Between two looks whether it ended; grows from the first to the second.
FIRST_S, LONGEST_S = 0.05, 1.0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a program in the guest ended. `is_cut`: there was more output than is handed on."""

    exit_code: int
    stdout: bytes
    stderr: bytes
    is_cut: bool


def run_in_guest(name: str, words: Sequence[str], database: VMDatabase, *, timeout_s: float = 0) -> Ran:
    """Run a program as root in the guest. One word alone is a line for the guest's shell.

    Raises:
        BlockhostError: it could not be started, the guest fell silent, or `timeout_s` (0: none) passed.
    """
    require_machine(name, database)
    command = list(words) if len(words) > 1 else ["/bin/sh", "-c", *words]
    pid = root_agent.call("vm-guest-exec", name=name, command=command)["pid"]
    started, pause = time.monotonic(), FIRST_S
    while (answer := root_agent.call("vm-guest-exec-status", name=name, pid=pid))["exit_code"] is None:
        if timeout_s and time.monotonic() - started > timeout_s:
            raise BlockhostError(
                _("%(name)s: the command did not end within %(timeout_s)g s; it goes on")
                % {"name": name, "timeout_s": timeout_s}
            )
        time.sleep(pause)
        pause = min(pause * 1.5, LONGEST_S)
    return Ran(
        int(answer["exit_code"]),
        base64.b64decode(answer["stdout"]),
        base64.b64decode(answer["stderr"]),
        bool(answer["is_cut"]),
    )
