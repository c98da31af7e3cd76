"""Who may log in by SSH: nobody, unless a key is given or the ISO is for testing.

The generated key is random, so two `--testing` ISOs differ by it unless `--ssh-key` names one.
"""

from __future__ import annotations

from pathlib import Path

from blockhost.command import run
from blockhost.errors import BlockhostError

NAME = "testing-ssh-key"
KINDS = ("ssh-", "ecdsa-", "sk-")


def public_keys(ssh_key: Path | None, *, testing: bool, build_dir: Path) -> tuple[str, ...]:
    """The lines for root's authorized_keys."""
    if ssh_key:
        return (_read(ssh_key),)
    return (_generated(build_dir),) if testing else ()


def _read(path: Path) -> str:
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BlockhostError(f"{path}: cannot be read ({error})") from error
    if "PRIVATE KEY" in text:
        raise BlockhostError(f"{path}: this is a private key", hint="Give the .pub file")
    if len(text.splitlines()) != 1 or not text.startswith(KINDS):
        raise BlockhostError(
            f"{path}: not one public SSH key", hint="Expected a line such as ssh-ed25519 AAAA…"
        )
    return text


def _generated(build_dir: Path) -> str:
    """The build directory's own key; made once, its private half readable for its owner only."""
    private = build_dir / NAME
    if not private.exists():
        build_dir.mkdir(parents=True, exist_ok=True)
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "blockhost-testing", "-f", private])
    return private.with_name(NAME + ".pub").read_text().strip()
