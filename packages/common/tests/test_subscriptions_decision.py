"""What comes next, for every situation; and that the actions always lead to rest."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blockhost.subscriptions.decision import Action, Hopeless, Settled, Situation, decide, delivery, vm_name
from blockhost.subscriptions.jobs import Job
from blockhost.subscriptions.source import Subscription
from blockhost.vm_db import VmRecord
from blockhost.vm_db.record import as_text

NOW = datetime.datetime(2026, 1, 10, tzinfo=datetime.UTC)
DAY = datetime.timedelta(days=1)
PAID = Subscription(7, "alice", 1, 2048, 20, NOW + DAY)
JOB = Job(7, "due", 0, 0, 0, None, "", "", 3, None, None, None, 0, 0)


def record(**changes: object) -> VmRecord:
    return {
        "vm_name": "blockhost-007", "vmid": 100, "ip_address": "192.0.2.2", "ipv6_address": None,
        "status": "active", "owner": "alice", "wallet_address": "alice", "purpose": "", "nft_token_id": 3,
        "created_at": as_text(NOW), "expires_at": as_text(PAID.ends_at), "suspended_at": None,
        "destroyed_at": None, "nft_minted": True, "nft_minted_at": None, "gecos_synced": True,
        "node_id": "local", **changes,
    }  # type: ignore[return-value]  # fmt: skip


VM = record()
KNOWN = replace(JOB, owner_in_guest="alice", delivered=delivery(PAID, VM))
ENDED = replace(PAID, ends_at=NOW - DAY)
SLEEPS = record(status="suspended", suspended_at=as_text(NOW - 6 * DAY), expires_at=as_text(ENDED.ends_at))
SERVED = replace(JOB, served_until=int(PAID.ends_at.timestamp()))
SECOND = datetime.timedelta(seconds=1)


@pytest.mark.parametrize(
    ("subscription", "vm", "job", "expected"),
    [
        (None, None, JOB, Settled(note="the engine does not know this subscription")),
        (PAID, None, replace(JOB, token=None), Action.CREDENTIAL),
        (PAID, None, JOB, Action.CREATE),
        (PAID, record(status="creating"), JOB, Action.CREATE),
        (PAID, record(status="destroyed"), JOB, Action.CREATE),
        (ENDED, None, JOB, Settled(note="ended")),
        (ENDED, record(status="creating"), JOB, Settled(note="ended")),
        (PAID, VM, replace(KNOWN, token=None), Action.CREDENTIAL),
        (PAID, record(expires_at=as_text(NOW)), KNOWN, Action.EXPIRY),
        (PAID, record(expires_at=None), KNOWN, Action.EXPIRY),
        (PAID, record(wallet_address="bob"), KNOWN, Action.OWNER),
        (PAID, record(status="suspended"), KNOWN, Action.RESUME),
        (PAID, VM, JOB, Action.SYNC),
        (PAID, VM, replace(KNOWN, owner_in_guest="bob"), Action.SYNC),
        (PAID, VM, replace(KNOWN, delivered=None), Action.DELIVER),
        (PAID, record(ip_address="192.0.2.9"), KNOWN, Action.DELIVER),
        (PAID, VM, KNOWN, Settled(PAID.ends_at + SECOND)),
        (replace(PAID, ends_at=NOW), record(expires_at=as_text(NOW)), KNOWN, Settled(NOW + SECOND)),
        (ENDED, record(expires_at=as_text(ENDED.ends_at)), KNOWN, Action.SUSPEND),
        (ENDED, VM, KNOWN, Action.EXPIRY),
        (ENDED, SLEEPS, KNOWN, Settled(NOW + DAY, note="suspended")),
        (ENDED, record(**{**SLEEPS, "suspended_at": as_text(NOW - 7 * DAY)}), KNOWN, Action.DESTROY),
        (ENDED, record(status="destroyed"), KNOWN, Settled(note="ended")),
    ],
)
def test_next(subscription: Subscription | None, vm: VmRecord | None, job: Job, expected: object) -> None:
    assert decide(Situation(subscription, vm, job, NOW, grace_days=7)) == expected


def test_what_the_operator_destroyed_does_not_come_back() -> None:
    settled = decide(Situation(PAID, record(status="destroyed"), SERVED, NOW, 7))
    assert isinstance(settled, Settled)
    assert "retry 7" in settled.note
    extended = replace(PAID, ends_at=PAID.ends_at + DAY)
    assert decide(Situation(extended, record(status="destroyed"), SERVED, NOW, 7)) == Action.CREATE


@pytest.mark.parametrize("token", [None, 4])
def test_machine_of_somebody_else_is_left_alone(token: int | None) -> None:
    with pytest.raises(Hopeless, match="not this subscription's"):
        decide(Situation(PAID, record(nft_token_id=token), JOB, NOW, 7))


def test_names_are_the_contracts() -> None:
    assert [vm_name(number) for number in (1, 42, 1234)] == [
        "blockhost-001", "blockhost-042", "blockhost-1234",
    ]  # fmt: skip


def effect(action: Action, situation: Situation) -> Situation:
    """What each action brings about when it works."""
    subscription, vm, job = situation.subscription, situation.vm, situation.job
    assert subscription is not None
    known = {**(vm or record())}
    match action:
        case Action.CREDENTIAL:
            return replace(situation, job=replace(job, token=3))
        case Action.CREATE:
            known = {**record(wallet_address=subscription.owner, expires_at=as_text(NOW + 30 * DAY))}
            job = replace(job, owner_in_guest=subscription.owner, delivered=None)
        case Action.EXPIRY:
            known["expires_at"] = as_text(subscription.ends_at)
        case Action.OWNER:
            known["wallet_address"] = subscription.owner
        case Action.RESUME:
            known.update(status="active", suspended_at=None)
        case Action.SUSPEND:
            known.update(status="suspended", suspended_at=as_text(situation.now))
        case Action.DESTROY:
            known["status"] = "destroyed"
        case Action.SYNC:
            job = replace(job, owner_in_guest=subscription.owner)
        case Action.DELIVER:
            job = replace(job, delivered=delivery(subscription, known))  # type: ignore[arg-type]
    return replace(situation, vm=known, job=job)  # type: ignore[arg-type]


days = st.integers(-20, 20)


@settings(max_examples=300, deadline=None)
@given(
    ends=days,
    status=st.sampled_from(["creating", "active", "suspended", "destroyed", None]),
    expires=days,
    suspended=st.integers(-20, 0),
    owner=st.sampled_from(["alice", "bob"]),
    in_guest=st.sampled_from(["alice", "bob", None]),
    token=st.sampled_from([3, None]),
    served=st.sampled_from([None, 0]),
)
def test_it_always_comes_to_rest(
    ends: int, status: str | None, expires: int, suspended: int, owner: str,
    in_guest: str | None, token: int | None, served: int | None,
) -> None:  # fmt: skip
    vm = None if status is None else record(
        status=status, expires_at=as_text(NOW + expires * DAY), suspended_at=as_text(NOW + suspended * DAY),
        wallet_address=owner,
    )  # fmt: skip
    job = replace(JOB, token=token, owner_in_guest=in_guest, served_until=served)
    situation = Situation(replace(PAID, ends_at=NOW + ends * DAY), vm, job, NOW, 7)
    done: list[Action] = []
    while isinstance(action := decide(situation), Action):
        assert action not in done  # so none is ever repeated in one go
        done.append(action)
        situation = effect(action, situation)
    after = situation.vm["status"] if situation.vm else None
    assert after in (("active",) if ends >= 0 else (None, "creating", "suspended", "destroyed"))
    if ends >= 0:
        assert situation.vm is not None
        assert situation.vm["wallet_address"] == situation.job.owner_in_guest == "alice"
    assert action.until is None or action.until > NOW
