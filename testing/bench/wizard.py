"""The wizard's first page after start, and its warm pages, against a bare Flask app under the same server."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

from blockhost import command
from testing.bench.ratio import Ratio
from testing.dry_run import TOP, DryRun, ask

STARTS = 7
WARM_REQUESTS = 1500


def first_page(start: list[str], env: dict[str, str], place: Path) -> tuple[float, list[float]]:
    """Seconds from exec to the first page; then the seconds of warm requests."""
    place.unlink(missing_ok=True)
    began = time.perf_counter()
    process = command.start([sys.executable, *start], env=env, cwd=TOP, stdout=-3, stderr=-3)
    try:
        while True:
            try:
                assert ask(place, "/login")[0] == 200
                break
            except OSError:
                assert process.poll() is None, "it died"
                time.sleep(0.001)
        until_first = time.perf_counter() - began
        warm = []
        for _ in range(WARM_REQUESTS):
            before = time.perf_counter()
            assert ask(place, "/login")[0] == 200
            warm.append(time.perf_counter() - before)
        return until_first, warm
    finally:
        process.terminate()
        process.wait()


def measure() -> list[Ratio]:
    ours: list[tuple[float, list[float]]] = []
    bare: list[tuple[float, list[float]]] = []
    with DryRun() as machine, tempfile.TemporaryDirectory() as directory:
        machine.start("agent", "worker")
        socket = machine.root / "run/blockhost-wizard/wizard.sock"
        plain = Path(directory) / "bare.sock"
        for _ in range(STARTS):  # alternately, so that a slow moment of the machine hits both
            bare.append(first_page([str(TOP / "testing/bench/bare_app.py"), str(plain)], {}, plain))
            ours.append(first_page(["-m", "installer.web"], machine.environment, socket))

    def p99(runs: list[tuple[float, list[float]]]) -> float:
        # The median over runs of each run's p99: one noisy run must not decide.
        return statistics.median(statistics.quantiles(warm, n=100)[98] for _, warm in runs)

    def start(runs: list[tuple[float, list[float]]]) -> float:
        return statistics.median(first for first, _ in runs)

    return [
        Ratio("wizard: start to first page / bare Flask", start(ours), start(bare), 1.5, "s"),
        Ratio("wizard: warm page p99 / bare Flask", p99(ours), p99(bare), 3.0, "s"),
    ]
