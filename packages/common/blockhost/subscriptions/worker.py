"""Doing what was decided, through the provisioner's commands and nothing else."""

from __future__ import annotations

import contextlib
import datetime
import logging
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from blockhost import wall_clock
from blockhost.errors import BlockhostError
from blockhost.fields import Fields, load_json_document
from blockhost.files import write_atomic
from blockhost.i18n import gettext as _
from blockhost.provisioner import ProvisionerDispatcher, failure, get_provisioner
from blockhost.subscriptions.decision import (
    Action,
    Hopeless,
    Settled,
    Situation,
    decide,
    delivery,
    seconds,
    vm_name,
)
from blockhost.subscriptions.jobs import Job, JobStore
from blockhost.subscriptions.source import Machine, Source, Subscription
from blockhost.vm_db import VMDatabase, get_database

log = logging.getLogger(__name__)

#: The longest way (made, owner changed, expired, …) has fewer actions than this.
MOST_ACTIONS = 20

#: What ends something, and so needs a clock that can be relied on.
ENDS = (Action.SUSPEND, Action.DESTROY)

#: The guest answers before its first start has made its keys.
SHOW_HOST_KEY = (
    "n=0; until cat /etc/ssh/ssh_host_ed25519_key.pub 2> /dev/null;"
    " do n=$((n + 1)); test $n -lt 120 || exit 1; sleep 1; done"
)
HOST_KEY = re.compile(r"ssh-ed25519 [A-Za-z0-9+/]{60,80}={0,2}")


class Worker:
    """Works on one job at a time in each thread that calls it."""

    def __init__(
        self,
        source: Source,
        jobs: JobStore,
        *,
        open_database: Callable[[], VMDatabase] = lambda: get_database(create=False),
        open_provisioner: Callable[[], ProvisionerDispatcher] = get_provisioner,
        clock: wall_clock.Clock = wall_clock.utc_now,
    ) -> None:
        self._source = source
        self._jobs = jobs
        self._open_database = open_database
        self._open_provisioner = open_provisioner
        self._clock = clock

    def work(self, number: int, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """Bring one subscription's machine in line. Never raises what an attempt can cause."""
        job = self._jobs.get(number)
        try:
            with contextlib.closing(self._open_database()) as database:
                self._until_settled(job, database, is_stopping)
        except Exception as error:  # whatever it is, this job alone must bear it
            if is_stopping():
                return  # it stays due, and the attempt does not count
            self._failed(number, job, error)

    def _until_settled(self, job: Job, database: VMDatabase, is_stopping: Callable[[], bool]) -> None:
        before: Action | None = None
        for _turn in range(MOST_ACTIONS):
            if is_stopping():
                return
            situation = self._look(job, database)
            next_one = decide(situation)
            if isinstance(next_one, Settled):
                self._settle(situation, next_one)
                return
            if next_one in ENDS and (reading := wall_clock.note(database.newest_moment)).doubt:
                log.warning("subscription %d: %s waits: %s", job.subscription, next_one, reading.doubt)
                self._jobs.postpone(job, reading.doubt, reading.hint)
                return
            if next_one == before:
                raise BlockhostError(
                    _("%(next_one)s: it reported success, and nothing changed") % {"next_one": next_one}
                )
            log.info("subscription %d: %s", job.subscription, next_one)
            self._jobs.begin(job, next_one, is_new_machine=next_one == Action.CREATE)
            self._do(next_one, situation, database)
            job = self._facts_of(job)
            before = next_one
        raise BlockhostError(_("it never comes to rest"))  # pragma: no cover  a bug in `decide`

    def _facts_of(self, job: Job) -> Job:
        """What is known by now, with the wakes from the beginning: an event since then must count."""
        found = self._jobs.get(job.subscription)
        return Job(**{**{name: getattr(found, name) for name in Job.__slots__}, "wakes": job.wakes})

    def _look(self, job: Job, database: VMDatabase) -> Situation:
        return Situation(
            subscription=self._source.subscription(job.subscription),
            vm=database.get_vm(vm_name(job.subscription)),
            job=job,
            # Whole seconds, as the records have.
            now=self._clock().replace(microsecond=0),
            grace_days=database.pools.grace_days,
        )

    def _settle(self, situation: Situation, settled: Settled) -> None:
        subscription = situation.subscription
        served = seconds(subscription.ends_at) if subscription is not None and situation.is_live else None
        until = None if settled.until is None else seconds(settled.until)
        self._jobs.settle(situation.job, until=until, note=settled.note, served_until=served)

    def _failed(self, number: int, job: Job, error: Exception) -> None:
        if isinstance(error, BlockhostError):
            message, hint = str(error), error.hint
        else:
            message, hint = (
                _("internal error: %(kind)s") % {"kind": type(error).__name__},
                _("See the log of blockhost-monitor."),
            )
            log.exception("subscription %d", number)
        is_parked = self._jobs.fail(job, message, hint, is_hopeless=isinstance(error, Hopeless))
        outcome = (
            "given up, `blockhost-subscriptions retry` tries again" if is_parked else "tried again later"
        )
        log.log(
            logging.ERROR if is_parked else logging.WARNING,
            "subscription %d: %s (%s)",
            number,
            message,
            outcome,
        )

    # --- the actions -------------------------------------------------------------------------

    def _do(self, action: Action, situation: Situation, database: VMDatabase) -> None:
        subscription, name = situation.subscription, vm_name(situation.job.subscription)
        assert subscription is not None
        match action:
            case Action.CREDENTIAL:
                self._jobs.know(situation.job, "token", self._source.credential(subscription))
            case Action.CREATE:
                self._create(situation, subscription, database)
            case Action.EXPIRY:
                database.set_expiry(name, subscription.ends_at)
            case Action.OWNER:
                fields = {
                    "owner": subscription.owner,
                    "wallet_address": subscription.owner,
                    "gecos_synced": False,
                }
                database.update_fields(name, fields)
            case Action.RESUME:
                self._run("resume", [name])
            case Action.SUSPEND:
                self._run("gc", ["--execute", "--suspend-only"])
            case Action.DESTROY:
                self._run("gc", ["--execute", "--destroy-only"])
            case Action.SYNC:
                self._sync(situation, subscription, database)
            case Action.DELIVER:
                self._deliver(situation, subscription)

    def _create(self, situation: Situation, subscription: Subscription, database: VMDatabase) -> None:
        name, token = vm_name(subscription.id), situation.job.token
        assert token is not None
        data = self._source.user_data(subscription, name, token)
        with tempfile.TemporaryDirectory(prefix="blockhost-user-data-") as folder:
            file = Path(folder) / "user-data"
            write_atomic(file, data.text, mode=0o600)
            printed = self._run(
                "create",
                [
                    name,
                    *("--owner-wallet", subscription.owner),
                    *("--nft-token-id", str(token)),
                    *("--expiry-days", str(_days(subscription.ends_at - situation.now))),
                    *("--cpu", str(subscription.cpu)),
                    *("--memory", str(subscription.memory_mb)),
                    *("--disk", str(subscription.disk_gb)),
                    "--apply",
                    *("--cloud-init-content", str(file)),
                ],
            )
        answer = Fields(load_json_document(printed, source="create"), source="create")
        if answer.take("status", str) != "ok" or answer.take("vm_name", str) != name:
            raise BlockhostError(
                _("create: unexpected answer %(printed)r") % {"printed": printed.strip()[:200]}
            )
        self._is_in_guest(situation, subscription, database)

    def _sync(self, situation: Situation, subscription: Subscription, database: VMDatabase) -> None:
        name, token = vm_name(subscription.id), situation.job.token
        assert token is not None
        self._run("update-gecos", [name, subscription.owner, "--nft-id", str(token)])
        username = self._source.user_data(subscription, name, token).username
        for argv in self._source.owner_commands(subscription, username):
            self._run("guest-exec", [name, *argv])
        self._is_in_guest(situation, subscription, database)

    def _is_in_guest(self, situation: Situation, subscription: Subscription, database: VMDatabase) -> None:
        """The guest knows its owner: by its user data at the first start, or because it was told."""
        name = vm_name(subscription.id)
        with database.transaction():
            database.mark_nft_minted(name, situation.job.token)
            database.set_gecos_synced(name, is_synced=True)
        self._jobs.know(situation.job, "owner_in_guest", subscription.owner)

    def _deliver(self, situation: Situation, subscription: Subscription) -> None:
        vm, token = situation.vm, situation.job.token
        assert vm is not None
        assert token is not None
        username = self._source.user_data(subscription, vm["vm_name"], token).username
        host_key = self._host_key(vm["vm_name"])
        machine = Machine(vm["vm_name"], vm["ip_address"], vm["ipv6_address"], username, host_key)
        self._source.deliver(subscription, token, machine)
        self._jobs.know(situation.job, "delivered", delivery(subscription, vm))

    def _host_key(self, name: str) -> str | None:
        """The guest's public host key. Its absence keeps nobody from a machine that works."""
        try:
            words = self._run("guest-exec", [name, "sh", "-c", SHOW_HOST_KEY]).split()
        except BlockhostError as error:
            log.warning("%s: its host key is not known: %s", name, error)
            return None
        line = " ".join(words[:2])
        return line if HOST_KEY.fullmatch(line) else None  # the guest may say anything

    def _run(self, verb: str, args: Sequence[str]) -> str:
        done = self._open_provisioner().run(verb, args)
        if done.code != 0:
            raise failure(verb, done)
        return done.stdout


def _days(left: datetime.timedelta) -> int:
    """Whole days, at least one; the exact end is set right behind the creation."""
    return max(1, -(-left // datetime.timedelta(days=1)))
