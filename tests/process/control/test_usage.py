"""What processes use is told in time, whatever they do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from sockact.cli.calls import resources
from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path


def test_a_process_that_keeps_the_kernel_from_answering(folder: Path) -> None:
    """The child that asks is left behind, and reaped at the next question."""
    # A directory with a FIFO, which nobody writes to, in the place of /proc/PID.
    os.mkfifo(folder / "smaps_rollup")
    stuck: Any = f"self/root{folder}"
    us = os.getpid()
    first, *others = resources.usage([[us], [stuck], [us]], 0.5)
    assert first[0]
    assert first[1]
    assert others == [(None, None)] * 2
    assert wait.ended(*resources._left_behind)
    assert None not in resources.usage([[us]], wait.TIMEOUT)[0]
    assert resources._left_behind == []


def test_processes_that_are_gone() -> None:
    assert resources.usage([[], [2**22 + 1]], wait.TIMEOUT) == [(None, None)] * 2
