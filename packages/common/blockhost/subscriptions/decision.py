"""What to do next for one subscription: decided from what is, never from what was asked for.

Pure functions. The worker does the one action, looks again, and asks again, until all is settled.
"""

from __future__ import annotations

import datetime
import hashlib
from dataclasses import dataclass
from enum import StrEnum

from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.subscriptions.jobs import Job
from blockhost.subscriptions.source import Subscription
from blockhost.vm_db import Status, VmRecord
from blockhost.vm_db.record import as_moment, as_text


class Action(StrEnum):
    """One effect; each can be repeated without harm."""

    CREDENTIAL = "credential"
    CREATE = "create"
    EXPIRY = "expiry"
    OWNER = "owner"
    RESUME = "resume"
    SUSPEND = "suspend"
    DESTROY = "destroy"
    SYNC = "sync"
    DELIVER = "deliver"


class Hopeless(BlockhostError):
    """Trying again alone will not help: somebody must look at it."""


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing to do until then (None: until an event)."""

    until: datetime.datetime | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a decision depends on."""

    subscription: Subscription | None
    vm: VmRecord | None
    job: Job
    now: datetime.datetime
    grace_days: int

    @property
    def is_live(self) -> bool:
        """Is there a machine, running or asleep?"""
        return self.vm is not None and self.vm["status"] in (Status.ACTIVE, Status.SUSPENDED)


def vm_name(number: int) -> str:
    """What the machine of a subscription is called (CLI contract)."""
    return f"blockhost-{number:03d}"


def seconds(moment: datetime.datetime) -> int:
    return int(moment.timestamp())


def decide(situation: Situation) -> Action | Settled:
    """The one action that comes next, or until when there is none.

    Raises:
        Hopeless: the machine of that name is somebody else's.
    """
    subscription = situation.subscription
    if subscription is None:
        return Settled(note=_("the engine does not know this subscription"))
    is_paid = subscription.ends_at >= situation.now
    if not situation.is_live:
        return _without_machine(situation, subscription, is_paid=is_paid)
    vm = situation.vm
    assert vm is not None
    if situation.job.token is None:
        return Action.CREDENTIAL
    if vm["nft_token_id"] != situation.job.token:
        raise Hopeless(
            _("a VM named %(vm_name)s exists that is not this subscription's") % {"vm_name": vm["vm_name"]},
            hint=_(
                "`blockhost-vmdb get-vm %(vm_name)s` tells whose it is. "
                "Once it is gone: "
                "`blockhost-subscriptions retry %(id)s`"
            )
            % {"vm_name": vm["vm_name"], "id": subscription.id},
        )
    if vm["expires_at"] != as_text(subscription.ends_at):
        return Action.EXPIRY
    if vm["wallet_address"] != subscription.owner:
        return Action.OWNER
    return _awake(situation, subscription, vm) if is_paid else _asleep(situation, vm)


def delivery(subscription: Subscription, vm: VmRecord) -> str:
    """Changes whenever the owner must be told anew."""
    parts = (subscription.owner, vm["vm_name"], vm["ip_address"], vm["ipv6_address"])
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _without_machine(situation: Situation, subscription: Subscription, *, is_paid: bool) -> Action | Settled:
    job = situation.job
    if not is_paid:
        return Settled(note=_("ended"))
    if job.served_until == seconds(subscription.ends_at):
        # It was there, for this very term: the operator removed it, and it must not come back by itself.
        return Settled(
            subscription.ends_at,
            note=_("its VM was destroyed; `blockhost-subscriptions retry %(id)s` makes another")
            % {"id": subscription.id},
        )
    return Action.CREDENTIAL if job.token is None else Action.CREATE


def _awake(situation: Situation, subscription: Subscription, vm: VmRecord) -> Action | Settled:
    if vm["status"] == Status.SUSPENDED:
        return Action.RESUME
    if situation.job.owner_in_guest != subscription.owner:
        return Action.SYNC
    if situation.job.delivered != delivery(subscription, vm):
        return Action.DELIVER
    # One second later, because the end itself still belongs to the term.
    return Settled(subscription.ends_at + datetime.timedelta(seconds=1))


def _asleep(situation: Situation, vm: VmRecord) -> Action | Settled:
    if vm["status"] == Status.ACTIVE:
        return Action.SUSPEND
    since = as_moment(vm["suspended_at"]) or situation.now
    end = since + datetime.timedelta(days=situation.grace_days)
    return Action.DESTROY if situation.now >= end else Settled(end, note=_("suspended"))
