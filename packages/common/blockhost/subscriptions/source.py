"""What an engine supplies to the monitor."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a subscription. `position` is where reading goes on behind it."""

    position: str
    subscription: int


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription as it is now. One that was ended early has an early `ends_at`."""

    id: int
    owner: str
    cpu: int
    memory_mb: int
    disk_gb: int
    ends_at: datetime.datetime


@dataclass(frozen=True, slots=True)
class UserData:
    """What cloud-init gets at the first start, and the first user in it."""

    text: str
    username: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Where the owner finds the machine."""

    name: str
    ip: str | None
    ipv6: str | None
    username: str
    #: By which the owner's first login recognises it; None where the guest did not say.
    host_key: str | None = None


class Source(Protocol):
    """The engine's side. Every method may be repeated at any time, after a crash as well.

    A BlockhostError is an attempt that failed; the job is tried again later.
    """

    @property
    def name(self) -> str:
        """Of the engine; positions are kept under it."""

    def events(self, after: str) -> Sequence[Event]:
        """What happened behind that position, in order; "" is the beginning. May come in portions."""

    def ids(self) -> Sequence[int]:
        """All subscriptions there ever were: what makes good a lost event."""

    def subscription(self, number: int) -> Subscription | None:
        """The truth about one subscription, now."""

    def credential(self, subscription: Subscription) -> int:
        """The number of its credential, made at the first call and found at every later one."""

    def user_data(self, subscription: Subscription, name: str, token: int) -> UserData:
        """How the guest is set up for its owner."""

    def owner_commands(self, subscription: Subscription, username: str) -> Sequence[Sequence[str]]:
        """What to run in the guest, as root, so that the owner and nobody else gets in."""

    def deliver(self, subscription: Subscription, token: int, machine: Machine) -> None:
        """Tell the owner where the machine is, so that only the owner can read it."""
