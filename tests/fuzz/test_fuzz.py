"""A short run of each fuzzer, always the same; `make fuzz` runs each for a minute.

SOCKACT_FUZZ_SEED=2 sends other messages.
"""

from __future__ import annotations

import os

import pytest

from tests.fuzz.all import FUZZERS
from tests.fuzz.harness import Fuzzer, run
from tests.support import wait

SEED = int(os.environ.get("SOCKACT_FUZZ_SEED", "1"))


@pytest.mark.timeout(180)
@pytest.mark.parametrize("fuzzer", FUZZERS, ids=lambda fuzzer: fuzzer.name)
def test_nothing_breaks(fuzzer: Fuzzer) -> None:
    report = run(fuzzer, SEED, fuzzer.few)
    # How long an answer takes says more about what else the machine does.
    assert not report.problems(hang=wait.TIMEOUT), f"{report.line()}; again: {report.replay()}"
