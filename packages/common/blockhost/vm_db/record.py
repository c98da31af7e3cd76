"""One virtual machine as the database knows it."""

from __future__ import annotations

import datetime
from enum import StrEnum
from typing import TypedDict


class Status(StrEnum):
    """What a machine is. `creating` is ours: reserved, and not yet there."""

    CREATING = "creating"
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DESTROYED = "destroyed"


class VmRecord(TypedDict):
    """The contract's record; times are ISO 8601 in UTC."""

    vm_name: str
    vmid: int
    ip_address: str | None
    ipv6_address: str | None
    status: str
    owner: str
    wallet_address: str | None
    purpose: str
    created_at: str
    expires_at: str | None
    suspended_at: str | None
    destroyed_at: str | None
    nft_token_id: int | None
    nft_minted: bool
    nft_minted_at: str | None
    gecos_synced: bool
    node_id: str


COLUMNS: tuple[str, ...] = tuple(VmRecord.__annotations__)
FLAGS = ("nft_minted", "gecos_synced")

#: Fields that may be corrected by hand, with the types of their values.
CHANGEABLE: dict[str, tuple[type, ...]] = {
    "owner": (str,),
    "wallet_address": (str, type(None)),
    "purpose": (str,),
    "expires_at": (str, type(None)),
    "nft_token_id": (int, type(None)),
    "gecos_synced": (bool,),
    "node_id": (str,),
}


def as_text(moment: datetime.datetime) -> str:
    """A record's time: ISO 8601 in UTC to the second, so that texts sort like the moments."""
    return moment.astimezone(datetime.UTC).isoformat(timespec="seconds")


def as_moment(text: str | None) -> datetime.datetime | None:
    """The moment of a record's time; one without a zone is in UTC.

    Raises:
        ValueError: it is none.
    """
    if text is None:
        return None
    moment = datetime.datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
