"""Subscriptions: numbered from 1; who has which plan, until when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from blockhost import wall_clock
from blockhost.engine_local.identity import PublicKey
from blockhost.engine_local.ledger import keys, plans
from blockhost.engine_local.ledger.plans import Offer
from blockhost.engine_local.ledger.store import Ledger, now
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

DAY_S = 86_400
MAX_DAYS = 3660

_COLUMNS = """
    SELECT subscriptions.id, plans.name AS plan, owner, created_at, expires_at, cancelled_at
    FROM subscriptions JOIN plans ON plans.id = plan_id
"""


class State(StrEnum):
    """What a subscription is worth right now."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription; times in seconds since the epoch."""

    id: int
    plan: str
    owner: str
    created_at: int
    expires_at: int
    cancelled_at: int | None

    def state(self, at: int | None = None) -> State:
        if self.cancelled_at is not None:
            return State.REVOKED
        return State.ACTIVE if self.expires_at > (now() if at is None else at) else State.EXPIRED

    @property
    def ends_at(self) -> int:
        """When it really ends: at its expiry, or when it was revoked before."""
        return self.expires_at if self.cancelled_at is None else min(self.expires_at, self.cancelled_at)

    @property
    def expires(self) -> str:
        """When it ends, in UTC."""
        return as_text(self.expires_at)


def grant(ledger: Ledger, key: PublicKey, *, plan_id: int, days: int, once: str | None = None) -> int:
    """A new subscription's number. `once` names the occasion: the same occasion grants once.

    Raises:
        BlockhostError: the clock is in doubt, and so would be the end.
    """
    with ledger.transaction():
        known = find_once(ledger, once)
        if known is not None:
            return known
        wall_clock.require()
        keys.remember(ledger, key)
        made = ledger.execute(
            "INSERT INTO subscriptions (plan_id, owner, once, created_at, expires_at) VALUES (?, ?, ?, ?, ?)",
            (plan_id, key.fingerprint, once, now(), now() + days * DAY_S),
        )
        assert made.lastrowid is not None
        return made.lastrowid


def find_once(ledger: Ledger, once: str | None) -> int | None:
    """The number that was granted for an occasion."""
    row = ledger.one("SELECT id FROM subscriptions WHERE once = ?", (once,))
    return None if row is None else int(row["id"])


def extend(ledger: Ledger, number: int, *, days: int) -> None:
    """Add days: to the end of what is left, or from now on where it has run out.

    Raises:
        BlockhostError: there is none, it was revoked, or the clock is in doubt.
    """
    wall_clock.require()
    with ledger.transaction():
        subscription = get(ledger, number)
        if subscription.cancelled_at is not None:
            raise BlockhostError(_("Subscription %(number)d was revoked.") % {"number": number})
        expires_at = max(subscription.expires_at, now()) + days * DAY_S
        ledger.execute("UPDATE subscriptions SET expires_at = ? WHERE id = ?", (expires_at, number))


def revoke(ledger: Ledger, number: int) -> None:
    """End it now; revoking twice keeps the first time."""
    with ledger.transaction():
        get(ledger, number)
        ledger.execute(
            "UPDATE subscriptions SET cancelled_at = COALESCE(cancelled_at, ?) WHERE id = ?", (now(), number)
        )


def transfer(ledger: Ledger, number: int, key: PublicKey) -> None:
    """Give it to another key, with its credential; the machine's monitor does the rest.

    Raises:
        BlockhostError: there is none, or it was revoked.
    """
    with ledger.transaction():
        subscription = get(ledger, number)
        if subscription.cancelled_at is not None:
            raise BlockhostError(_("Subscription %(number)d was revoked.") % {"number": number})
        keys.remember(ledger, key)
        ledger.execute("UPDATE subscriptions SET owner = ? WHERE id = ?", (key.fingerprint, number))
        ledger.execute("UPDATE credentials SET owner = ? WHERE once = ?", (key.fingerprint, occasion(number)))


def occasion(number: int) -> str:
    """For what a subscription's credential is minted, once."""
    return f"subscription:{number}"


def plan_of(ledger: Ledger, number: int) -> Offer:
    """The numbers of a subscription's plan."""
    return plans.find(ledger, get(ledger, number).plan).offer


def get(ledger: Ledger, number: int) -> Subscription:
    """The subscription of that number.

    Raises:
        BlockhostError: there is none.
    """
    found = find(ledger, number)
    if found is None:
        raise BlockhostError(
            _("There is no subscription %(number)d.") % {"number": number},
            hint=_("`blockhost-local list` shows them."),
        )
    return found


def find(ledger: Ledger, number: int) -> Subscription | None:
    row = ledger.one(f"{_COLUMNS} WHERE subscriptions.id = ?", (number,))
    return None if row is None else Subscription(**row)


def all_subscriptions(ledger: Ledger) -> list[Subscription]:
    """Every subscription, oldest first."""
    return [Subscription(**row) for row in ledger.execute(f"{_COLUMNS} ORDER BY subscriptions.id")]


def as_text(seconds: int) -> str:
    """A time of the ledger for people: `2027-01-31 14:05 UTC`."""
    return wall_clock.as_text(datetime.fromtimestamp(seconds, UTC))
