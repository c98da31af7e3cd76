"""The database of virtual machines: who owns which, until when, at which address."""

from __future__ import annotations

from pathlib import Path

from blockhost import paths
from blockhost.config import get_db_file_path, load_config, load_db_config
from blockhost.vm_db.own_addresses import own_addresses
from blockhost.vm_db.pools import PoolExhausted, Pools
from blockhost.vm_db.record import Status, VmRecord
from blockhost.vm_db.store import MockVMDatabase, VMDatabase

__all__ = ["MockVMDatabase", "PoolExhausted", "Pools", "Status", "VMDatabase", "VmRecord", "get_database"]


def get_database(
    use_mock: bool = False,
    config_path: str | Path | None = None,
    fallback_dir: str | Path | None = None,
    *,
    create: bool = True,
) -> VMDatabase:
    """The host's database, with the pools of `db.yaml`; with `use_mock`, one in memory.

    The host's own addresses are never handed out. Whoever only looks says `create=False`: on a
    volume that is not mounted, an empty database would look like a host without machines.

    Raises:
        ConfigError: `db.yaml` is missing or malformed.
        BlockhostError: there is no database and `create` is false.
        DamagedFile: it is not one of ours, or cannot be read.
    """
    if use_mock:
        return MockVMDatabase()
    if config_path is not None:
        path = Path(config_path)
        document = load_config(path.name, path.parent) if path.parent != Path() else load_config(path.name)
        file = paths.at(document["db_file"]) if "db_file" in document else paths.state_dir() / "vms.db"
    else:
        path, document = Path("db.yaml"), load_db_config(fallback_dir)
        file = get_db_file_path(fallback_dir)
    pools = Pools.parse(document, source=str(path)).without(own_addresses())
    return VMDatabase(file, pools, create=create)
