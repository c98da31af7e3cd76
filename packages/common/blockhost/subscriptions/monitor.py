"""The monitor's loop: read events, start the jobs whose time has come. One process on a host."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from blockhost import paths, service_state, wall_clock
from blockhost.errors import BlockhostError
from blockhost.i18n import gettext as _
from blockhost.subscriptions.jobs import JobStore
from blockhost.subscriptions.source import Source
from blockhost.subscriptions.worker import Worker

log = logging.getLogger(__name__)

POLL_S = 1.0
#: How often all subscriptions are compared with the jobs.
COMPARE_S = 3600.0
#: Machines that are worked on at once: making one takes minutes, and the others must not wait for it.
WORKERS = 3


class Monitor:
    """Events in, jobs out. `run` returns when it was asked to stop."""

    def __init__(self, source: Source, jobs: JobStore, worker: Worker, *, workers: int = WORKERS) -> None:
        self._source = source
        self._jobs = jobs
        self._worker = worker
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="job")
        self._workers = workers
        self._busy: dict[int, Future[None]] = {}
        self._stopping = threading.Event()
        self._compared_at: float | None = None
        self._complaint = ""

    def stop(self) -> None:
        """Start nothing new; what is under way may end."""
        self._stopping.set()

    def run(self, poll_s: float = POLL_S) -> None:
        """Until `stop`. What fails for a while (a locked or missing file) is told and tried again."""
        with self._pool:
            while not self._stopping.is_set():
                self._guarded(self.tick)
                service_state.tell(service_state.ALIVE)
                self._stopping.wait(poll_s)

    def tick(self) -> None:
        """Read what happened, and start what is due, as far as there are free hands."""
        wall_clock.note()
        self._busy = {number: job for number, job in self._busy.items() if not job.done()}
        self._read_events()
        if self._compared_at is None or time.monotonic() - self._compared_at > COMPARE_S:
            self._jobs.ensure(self._source.ids())
            self._compared_at = time.monotonic()
        for job in self._jobs.due(self._busy, self._workers - len(self._busy)):
            number = job.subscription
            self._busy[number] = self._pool.submit(self._worker.work, number, self._stopping.is_set)

    def wait_idle(self) -> None:
        """Until everything that was started has ended."""
        for future in self._busy.values():
            future.result()

    def _read_events(self) -> None:
        before, position = None, self._jobs.position(self._source.name)
        while position != before and (events := self._source.events(position)):
            self._jobs.take_in(self._source.name, events)
            before, position = position, events[-1].position

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
            self._complaint = ""
        except BlockhostError as error:
            if str(error) != self._complaint:  # once, not every second
                log.error("%s", error)
            self._complaint = str(error)


def serve(source: Source, *, poll_s: float = POLL_S) -> int:
    """The service: alone on this host, until SIGTERM or SIGINT.

    Raises:
        BlockhostError: another monitor runs.
    """
    descriptor = _alone(paths.state_dir() / "monitor.lock")
    try:
        jobs = JobStore()
        monitor = Monitor(source, jobs, Worker(source, jobs))

        def stop(_number: int, _frame: FrameType | None) -> None:
            monitor.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        service_state.tell(service_state.READY)
        monitor.run(poll_s)
        service_state.tell(service_state.STOPPING)
        jobs.close()
    finally:
        os.close(descriptor)
    return 0


def _alone(path: Path) -> int:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BlockhostError(_("another monitor runs on this host")) from None
    return descriptor
