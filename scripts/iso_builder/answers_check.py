"""Refuse an answers file that the appliance would refuse, while it can still be corrected."""

from __future__ import annotations

from pathlib import Path

from blockhost.command import probe
from blockhost.errors import BlockhostError
from iso_builder.version import REPOSITORY

PYTHON_DIRS = ("packages/common", "plugins/engine-local", "plugins/provisioner-libvirt", ".")


def require_valid(answers: Path) -> None:
    """Run the product's own validation.

    Raises:
        BlockhostError: the file is not valid; the message is the validation's own.
    """
    if not answers.is_file():
        raise BlockhostError(f"{answers}: no such answers file")
    path = ":".join(str(REPOSITORY / name) for name in PYTHON_DIRS)
    done = probe(
        ["/usr/bin/python3", "-m", "installer.setup_cli", "validate", answers.resolve()],
        env={"PYTHONPATH": path},
        cwd=REPOSITORY,
    )
    if done.code != 0:
        raise BlockhostError((done.stderr or done.stdout).strip() or f"{answers}: not valid")
