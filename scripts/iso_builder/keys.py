"""Names for cached work: a hash over everything that the work depends on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

KEY_LENGTH = 16


def key_of(*inputs: object) -> str:
    """The cache key of a stage with these (JSON-able) inputs."""
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_LENGTH]


def digest_file(path: Path) -> str:
    """SHA-256 of a file's content, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_tree(top: Path) -> str:
    """SHA-256 over names, executable bits, link targets and contents below `top`; times do not count."""
    if not top.is_dir():
        return digest_file(top)
    total = hashlib.sha256()
    for path in sorted(top.rglob("*")):
        if "__pycache__" in path.parts:
            continue
        name = path.relative_to(top).as_posix()
        if path.is_symlink():
            total.update(f"link {name} {path.readlink()}\n".encode())
        elif path.is_file():
            executable = "x" if os.access(path, os.X_OK) else "-"
            total.update(f"file {name} {executable} {digest_file(path)}\n".encode())
    return total.hexdigest()


def digest_sources(*modules: str) -> str:
    """SHA-256 over our own modules of these names: changed code means changed results."""
    here = Path(__file__).parent
    return hashlib.sha256("".join(digest_file(here / f"{name}.py") for name in modules).encode()).hexdigest()
