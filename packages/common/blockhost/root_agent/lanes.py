"""Where actions run: quick and slow ones in workers of their own, one at a time per resource.

A call that waits for its resource waits in a queue, not in a worker, so a hundred calls for one
slow machine never hold up a call for another.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

Work = Callable[[], None]


class Lanes:
    """Runs work that never raises."""

    def __init__(self, *, quick: int = 8, slow: int = 16) -> None:
        self._quick = ThreadPoolExecutor(quick, thread_name_prefix="quick")
        self._slow = ThreadPoolExecutor(slow, thread_name_prefix="slow")
        self._guard = threading.Lock()
        self._waiting: dict[str, deque[tuple[ThreadPoolExecutor, Work]]] = {}

    def submit(self, work: Work, *, resource: str = "", is_slow: bool = False) -> None:
        """Run `work` soon; after all earlier work with the same `resource`."""
        pool = self._slow if is_slow else self._quick
        if not resource:
            pool.submit(work)
            return
        with self._guard:
            queue = self._waiting.get(resource)
            if queue is not None:
                queue.append((pool, work))
                return
            self._waiting[resource] = deque()
        pool.submit(self._run, resource, work)

    def close(self) -> None:
        """Wait for running work; what waits is dropped."""
        with self._guard:
            for queue in self._waiting.values():
                queue.clear()
        self._quick.shutdown(wait=True, cancel_futures=True)
        self._slow.shutdown(wait=True, cancel_futures=True)

    def _run(self, resource: str, work: Work) -> None:
        try:
            work()
        finally:
            with self._guard:
                queue = self._waiting[resource]
                following = queue.popleft() if queue else None
                if following is None:
                    del self._waiting[resource]
            if following is not None:
                following[0].submit(self._run, resource, following[1])
