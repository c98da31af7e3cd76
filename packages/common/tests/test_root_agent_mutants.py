"""Each planted defect of the agent is found: a few per run, others every day.

BLOCKHOST_MUTANTS=all plants all of them (`make test-agent-mutants`).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from packages.common.tests.agent_mutants import MUTANTS, TOP, Mutant, is_found

SAMPLE = 2
DAY = int(time.time() // 86_400)
ALL = os.environ.get("BLOCKHOST_MUTANTS") == "all"
TODAY = MUTANTS if ALL else tuple(MUTANTS[(DAY * SAMPLE + n) % len(MUTANTS)] for n in range(SAMPLE))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mutant", TODAY, ids=lambda mutant: mutant.name)
def test_planted_defect_is_found(mutant: Mutant, tmp_path: Path) -> None:
    if mutant.test.endswith("test_kernel_says_who_calls") and os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    # Below the temporary folder of the outer run, which only this user can enter: the copy is trusted.
    assert is_found(mutant, tmp_path / "copy")


def test_every_planted_defect_still_has_its_line() -> None:
    for mutant in MUTANTS:
        assert (TOP / mutant.file).read_text().count(mutant.line) == 1, mutant.name
        assert mutant.line != mutant.instead
