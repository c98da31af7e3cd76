"""Plans: what a VM of it has, and what a day of it costs."""

from __future__ import annotations

from dataclasses import dataclass

from blockhost.engine_local.ledger.store import Ledger
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _

_COLUMNS = "SELECT id, name, price_cents, cpu, memory_mb, disk_gb, active FROM plans"


@dataclass(frozen=True, slots=True)
class Offer:
    """What a plan promises: price in US cents a day, memory in MB, disk in GB.

    Limits that are wide enough for any machine, and narrow enough to catch a slip of the finger.
    """

    name: str
    price_cents: int
    cpu: int = 1
    memory_mb: int = 2048
    disk_gb: int = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """A plan in the ledger."""

    id: int
    offer: Offer
    active: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """The smallest and the largest value that is taken for one number of a plan."""

    least: int
    most: int
    unit: str


LIMITS = {
    "price_cents": Limit(0, 10_000_000, "¢"),
    "cpu": Limit(1, 256, ""),
    "memory_mb": Limit(256, 4 * 1024 * 1024, "MB"),
    "disk_gb": Limit(2, 256 * 1024, "GB"),
}

MAX_NAME = 64


def create(ledger: Ledger, offer: Offer) -> int:
    """A new plan's number.

    Raises:
        BlockhostError: the name is taken.
    """
    with ledger.transaction():
        if _row(ledger, offer.name) is not None:
            raise BlockhostError(
                _("There is already a plan “%(name)s”.") % {"name": offer.name},
                hint=_(
                    "`blockhost-local plans` lists them, also those that `blockhost-local offer` brings back."
                ),
            )
        return _insert(ledger, offer)


def ensure(ledger: Ledger, offer: Offer) -> int:
    """The plan of that name, with exactly these numbers; made or corrected where it must be."""
    with ledger.transaction():
        known = _row(ledger, offer.name)
        if known is None:
            return _insert(ledger, offer)
        if known.offer != offer or not known.active:
            ledger.execute(
                "UPDATE plans SET price_cents = ?, cpu = ?, memory_mb = ?, disk_gb = ?, active = 1"
                " WHERE id = ?",
                (offer.price_cents, offer.cpu, offer.memory_mb, offer.disk_gb, known.id),
            )
        return known.id


def set_active(ledger: Ledger, name: str, *, is_active: bool) -> None:
    """Offer a plan, or no longer. Subscriptions of it go on either way, and can be extended.

    Raises:
        BlockhostError: there is no such plan.
    """
    with ledger.transaction():
        ledger.execute("UPDATE plans SET active = ? WHERE id = ?", (int(is_active), find(ledger, name).id))


def find(ledger: Ledger, name: str) -> Plan:
    """The plan of that name.

    Raises:
        BlockhostError: there is none; the hint lists what there is.
    """
    plan = _row(ledger, name)
    if plan is None:
        names = ", ".join(known.offer.name for known in all_plans(ledger)) or _("none yet")
        raise BlockhostError(
            _("There is no plan “%(name)s”.") % {"name": name}, hint=_("Plans: %(names)s") % {"names": names}
        )
    return plan


def all_plans(ledger: Ledger, *, active_only: bool = False) -> list[Plan]:
    """Every plan, in the order they were made."""
    plans = [_plan(row) for row in ledger.execute(f"{_COLUMNS} ORDER BY id")]
    return [plan for plan in plans if plan.active or not active_only]


def check_name(text: str) -> str:
    """A plan's name, without blanks around it.

    Raises:
        ValueError: empty, too long, or with characters that do not print.
    """
    name = text.strip()
    if not name:
        raise ValueError(_("Give the plan a name."))
    if len(name) > MAX_NAME:
        raise ValueError(
            _("The name has %(size)d characters; %(most)d fit.") % {"size": len(name), "most": MAX_NAME}
        )
    if not name.isprintable() or name.startswith("-"):
        raise ValueError(_("The name must be plain text that does not start with “-”."))
    return name


def check_number(key: str, text: str) -> int:
    """One number of a plan (a key of `LIMITS`), typed by a person.

    Raises:
        ValueError: says what was found and what is expected.
    """
    limit = LIMITS[key]
    word = text.strip()
    number = int(word) if word.isascii() and word.isdigit() and len(word) <= 12 else None
    if number is None or not limit.least <= number <= limit.most:
        raise ValueError(
            _("expected a whole number from %(least)d to %(most)d %(unit)s, got “%(found)s”")
            % {"least": limit.least, "most": limit.most, "unit": limit.unit, "found": word[:40]}
        )
    return number


def _insert(ledger: Ledger, offer: Offer) -> int:
    made = ledger.execute(
        "INSERT INTO plans (name, price_cents, cpu, memory_mb, disk_gb) VALUES (?, ?, ?, ?, ?)",
        (offer.name, offer.price_cents, offer.cpu, offer.memory_mb, offer.disk_gb),
    )
    assert made.lastrowid is not None
    return made.lastrowid


def _row(ledger: Ledger, name: str) -> Plan | None:
    row = ledger.one(f"{_COLUMNS} WHERE name = ?", (name,))
    return None if row is None else _plan(row)


def _plan(row: object) -> Plan:
    number, name, price_cents, cpu, memory_mb, disk_gb, active = tuple(row)  # type: ignore[arg-type,var-annotated]
    return Plan(number, Offer(name, price_cents, cpu, memory_mb, disk_gb), bool(active))
