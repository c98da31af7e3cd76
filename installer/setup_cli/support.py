"""What goes into a support bundle, and what must not: collecting and redacting.

Two nets hold secrets back. Known values (the vault's, and those of configuration files that only
root and the services may read) are replaced wherever they occur; in JSON and YAML, so is
whatever stands under a name that sounds like a secret.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from blockhost import command, config_files, paths
from blockhost.command_line import installed_version
from blockhost.errors import BlockhostError
from blockhost.files import write_atomic
from blockhost.secret import Redactor
from installer.answers import is_placeholder
from installer.vault import Vault

GAPS = "left-out.txt"
#: The end of a log is what tells; a bundle must fit into a mail.
MAX_FILE = 512 * 1024

UNITS = (
    "blockhost-firstboot", "blockhost-wizard", "blockhost-worker", "blockhost-console@tty1",
    "blockhost-root-agent", "blockhost-firewall", "blockhost-admin", "blockhost-monitor", "blockhost-vm-gc",
    "libvirtd", "nginx",
)  # fmt: skip

COMMANDS: dict[str, list[str]] = {
    "system/uname.txt": ["uname", "-a"],
    "system/packages.txt": ["dpkg-query", "-W", "-f=${Package} ${Version} ${db:Status-Abbrev}\n",
                            "*blockhost*", "nginx*", "python3", "systemd"],
    "system/disk-space.txt": ["df", "-h"],
    "system/memory.txt": ["free", "-m"],
    "system/addresses.txt": ["ip", "address"],
    "system/routes.txt": ["ip", "route"],
    "system/failed-units.txt": ["systemctl", "--failed", "--no-legend", "--plain"],
    "system/units.txt": ["systemctl", "show", "--no-pager", "-p",
                         "Id,ActiveState,SubState,Result,NRestarts,ExecMainStatus", *UNITS],
    "system/journal.txt": ["journalctl", "--no-pager", "-b", "-n", "3000", *(f"-u{unit}" for unit in UNITS)],
}  # fmt: skip

#: Patterns below the root, with the folder of the bundle that they go to.
FILES = {
    "/var/lib/blockhost-setup/finalize/**/*": "records/finalize",
    "/var/lib/blockhost/.step-*": "records/firstboot",
    "/var/lib/blockhost/setup-state.json": "records",
    "/var/lib/blockhost/validation-output.*": "records",
    "/var/lib/blockhost-setup/logs/**/*": "logs/steps",
    "/var/log/blockhost*": "logs",
    "/etc/os-release": "system",
    "/usr/share/blockhost/*.json": "manifests",
    "/etc/nginx/blockhost/current/*.conf": "nginx",
}

SECRET_NAME = re.compile(
    r"(secret|signature|passw|token|credential|private|mnemonic|wg_config|otp|cookie|deployer_key|_key$|^key$)",
    re.IGNORECASE,
)
#: Public though their names sound otherwise.
PUBLIC_NAMES = frozenset(
    {"admin_public_secret", "public_secret", "session_key", "config_keys", "secrets", "native_token",
     "native_token_label", "token_pattern", "signature_pattern", "broker_pubkey", "credential_nft_id"}
)  # fmt: skip


def collect() -> dict[str, bytes]:
    """The members of a bundle, redacted; GAPS lists what could not be had."""
    gaps: list[str] = []
    redactor = Redactor(_known_secrets(gaps))
    members = {"version.txt": f"blockhost-setup {installed_version('blockhost-installer')}\n".encode()}
    for pattern, folder in FILES.items():
        for path in _matching(pattern, gaps):
            name = f"{folder}/{path.name}" if "**" not in pattern else f"{folder}/{_below(path, pattern)}"
            _add(members, name, lambda path=path: _tail(path), redactor, gaps)  # type: ignore[misc]
    for name, argv in COMMANDS.items():
        _add(members, name, lambda argv=argv: _output(argv), redactor, gaps)  # type: ignore[misc]
    members[GAPS] = "".join(f"{gap}\n" for gap in gaps).encode()
    return members


def write(output: Path, members: dict[str, bytes]) -> None:
    """Write the archive whole, readable for its owner only."""
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for name in sorted(members):
            info = tarfile.TarInfo(f"blockhost-support/{name}")
            info.size, info.mode = len(members[name]), 0o600
            archive.addfile(info, io.BytesIO(members[name]))
    write_atomic(output, buffer.getvalue(), mode=0o600)


def redacted(text: str, redactor: Redactor) -> str:
    """A text without secrets: structured ones by name, all by value."""
    try:
        document = json.loads(text)
    except ValueError:
        return redactor.redact("\n".join(_redact_line(line) for line in text.split("\n")))
    return redactor.redact(json.dumps(hide_by_name(document), indent=2, ensure_ascii=False) + "\n")


def hide_by_name(value: Any) -> Any:
    """The document with everything under a secret-sounding name hidden, placeholders excepted."""
    if isinstance(value, dict) and not is_placeholder(value):
        return {
            key: "[redacted]" if _is_secret(str(key), entry) else hide_by_name(entry)
            for key, entry in value.items()
        }
    if isinstance(value, list):
        return [hide_by_name(item) for item in value]
    return value


def _is_secret(name: str, entry: Any) -> bool:
    if name in PUBLIC_NAMES or isinstance(entry, dict | list) or entry in (None, "", True, False):
        return False
    return bool(SECRET_NAME.search(name))


def _redact_line(line: str) -> str:
    """`name: value` and `name=value` lines, as logs and YAML have them; whole JSON lines by name."""
    if line.startswith("{"):
        try:
            return json.dumps(hide_by_name(json.loads(line)), ensure_ascii=False)
        except ValueError:
            pass
    found = re.match(r"^(\s*[\"']?([A-Za-z_][\w-]*)[\"']?\s*[:=]\s*)(\S.*)$", line)
    if found and found[2] not in PUBLIC_NAMES and SECRET_NAME.search(found[2]):
        return f"{found[1]}[redacted]"
    return line


def _known_secrets(gaps: list[str]) -> Iterable[str]:
    """Values that must not occur anywhere, as far as we may read them."""
    vault = Vault()
    try:
        yield from (vault.get(name).reveal() for name in vault.names())
    except (BlockhostError, OSError) as error:
        gaps.append(f"vault: {error}")
    for row in config_files.TABLE:
        if row.mode & 0o004:  # everybody may read it
            continue
        try:
            text = row.path.read_text()
        except (OSError, UnicodeDecodeError):
            continue
        yield from _values(text)
    try:
        yield str(json.loads((paths.run_dir() / "otp.json").read_text())["code"])
    except (OSError, ValueError, KeyError, TypeError):
        return


def _values(text: str) -> list[str]:
    """A whole file that is one secret; in structured files only what a secret's name stands over."""
    stripped = text.strip()
    if not re.search(r"^\s*[\"'{]?[\w\"']+\s*:", stripped, re.MULTILINE) or stripped.startswith("-----BEGIN"):
        return [stripped]
    return [
        found[2].strip("\"', ")
        for found in re.finditer(r"[\"']?([A-Za-z_]\w*)[\"']?\s*:\s*(\"[^\"]+\"|\S+)", stripped)
        if found[1] not in PUBLIC_NAMES and SECRET_NAME.search(found[1])
    ]


def _matching(pattern: str, gaps: list[str]) -> list[Path]:
    try:
        return sorted(
            path
            for path in paths.root().glob(pattern.lstrip("/"))
            if path.is_file() and not path.name.startswith(".vault")
        )
    except OSError as error:
        gaps.append(f"{pattern}: {error.strerror}")
        return []


def _below(path: Path, pattern: str) -> str:
    return str(path.relative_to(paths.at(pattern.split("**", maxsplit=1)[0])))


def _add(
    members: dict[str, bytes], name: str, read: Callable[[], str], redactor: Redactor, gaps: list[str]
) -> None:
    try:
        members[name] = redacted(read(), redactor).encode()
    except (BlockhostError, OSError) as error:
        gaps.append(f"{name}: {getattr(error, 'strerror', None) or error}")


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - MAX_FILE))
        text = file.read(MAX_FILE).decode("utf-8", "replace")
    # A cut line may begin inside a secret that the redactor then does not know.
    return text if size <= MAX_FILE else "[…]\n" + text.partition("\n")[2]


def _output(argv: list[str]) -> str:
    done = command.probe(argv, timeout=30)
    return done.stdout + (f"\n[stderr]\n{done.stderr}" if done.stderr else "")
