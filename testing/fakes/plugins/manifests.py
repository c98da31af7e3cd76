"""Manifests for the plugins in this folder. For tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent


def engine(name: str, module: str, **changes: Any) -> dict[str, Any]:
    """An `engine.json`; `changes` replace top-level keys."""
    manifest: dict[str, Any] = {
        "name": name,
        "version": "1.0",
        "display_name": f"{name.capitalize()} (for tests)",
        "accent_color": "#aa5500",
        "setup": {
            "wizard_module": module,
            "finalization_steps": ["contracts"],
            "post_finalization_steps": ["mint_nft"],
        },
        "config_keys": {"session_key": "blockchain", "secrets": ["deployer_key"]},
        "constraints": {
            "address_pattern": "^0x[0-9a-fA-F]{40}$",
            "signature_pattern": "^0x[0-9a-fA-F]{130}$",
        },
    }
    return manifest | changes


def provisioner(name: str, module: str, **changes: Any) -> dict[str, Any]:
    """A `provisioner.json`; `changes` replace top-level keys."""
    manifest: dict[str, Any] = {
        "name": name,
        "version": "1.0",
        "display_name": f"{name.capitalize()} (for tests)",
        "accent_color": "teal",
        "commands": {"create": "plain-create"},
        "setup": {
            "first_boot_hook": "/usr/share/blockhost/hooks/plain.sh",
            "detect": "plain-detect",
            "wizard_module": module,
            "finalization_steps": [],
        },
        "root_agent_actions": "/usr/share/blockhost/root-agent-actions/plain.py",
        "config_keys": {"session_key": name, "provisioner_config": ["db_file"]},
    }
    return manifest | changes
