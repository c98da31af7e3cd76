"""Where things lie, below a root that tests and the dry run can move (`BLOCKHOST_ROOT`)."""

from __future__ import annotations

import os
from pathlib import Path


def root() -> Path:
    """The file system root that the product works in; `/` on an appliance."""
    return Path(os.environ.get("BLOCKHOST_ROOT") or "/")


def at(path: str | os.PathLike[str]) -> Path:
    """The place of an absolute appliance path below the current root."""
    return root() / os.fspath(path).lstrip("/")


def on_appliance(path: str) -> str:
    """A path below the current root as the appliance would call it; any other text as it is."""
    base = str(root()).rstrip("/")
    return path.removeprefix(base) if base and path.startswith(f"{base}/") else path


def config_dir() -> Path:
    """Configuration, root:blockhost 0750."""
    return at("/etc/blockhost")


def state_dir() -> Path:
    """Lasting state of the services, blockhost:blockhost 0750."""
    return at("/var/lib/blockhost")


def setup_dir() -> Path:
    """The setup worker's own state, root 0700: vault, records, lock, step logs."""
    return at("/var/lib/blockhost-setup")


def run_dir() -> Path:
    """Sockets and codes of this boot; made by tmpfiles, owned by no unit."""
    return at("/run/blockhost")


def setup_run_dir() -> Path:
    """The worker's socket."""
    return at("/run/blockhost-setup")


def wizard_run_dir() -> Path:
    """The wizard's socket and sessions."""
    return at("/run/blockhost-wizard")


def share_dir() -> Path:
    """What packages ship: manifests, schemas, templates, action modules."""
    return at("/usr/share/blockhost")


def web_dir() -> Path:
    """Static pages for visitors."""
    return at("/var/www/blockhost")


def log_dir() -> Path:
    return at("/var/log")


def is_dry_run() -> bool:
    """True when programs that change the machine are recorded fakes."""
    return os.environ.get("BLOCKHOST_DRY_RUN") == "1"


def is_testing() -> bool:
    """True on an appliance made by `build-iso.sh --testing`."""
    return (config_dir() / ".testing-mode").exists()
