"""Orders to hundreds of processes: a few at a time, without looks at all of them for each."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from sockact.core.lifecycle.model import Gate
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.gates.gate_move import GateMove
from sockact.supervisor.processes.shim_calls import CALL_SIGNAL, ShimCalls

if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lifecycle.model import Gate as Reached

MANY, AT_A_TIME = 50, 32
FIRST = 1 << 30
"""No process has this pid."""


def deaf(ready: int) -> int:
    """A process that can be called, but does not hear it."""
    if pid := os.fork():
        return pid
    signal.signal(CALL_SIGNAL, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [CALL_SIGNAL])
    os.write(ready, b"r")
    while True:
        signal.pause()


def called(pid: int) -> bool:
    """Whether the signal waits for the process: proc_pid_status(5)."""
    status = Path(f"/proc/{pid}/status").read_text()
    pending = re.search(r"^ShdPnd:\s*(\w+)", status, re.M)
    assert pending
    return bool(int(pending[1], 16) & 1 << CALL_SIGNAL - 1)


def test_they_are_called_a_few_at_a_time() -> None:
    reader, ready = os.pipe()
    pids = [deaf(ready) for _ in range(MANY)]
    loop = Loop()
    calls = ShimCalls(
        loop, f"sockact-test-{os.getpid()}", lambda _: None, lambda *_: None, lambda *_: None
    )
    failed: list[str] = []
    try:
        for _ in range(MANY):
            assert os.read(reader, 1) == b"r"
        for pid in pids:
            calls.order(pid, "gate closed", failed.append)
        assert [called(pid) for pid in pids].count(True) == AT_A_TIME
        # One that has ended makes room for the next one.
        calls.forget(pids[0], "ended")
        assert [called(pid) for pid in pids].count(True) == AT_A_TIME + 1
        for pid in pids:
            calls.forget(pid, "ended")
        assert failed == ["ended"] * MANY
    finally:
        calls.close()
        loop.close()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(reader)
        os.close(ready)


def test_one_process_that_matters_is_enough() -> None:
    """To find out whether a process matters, all of them may have to be looked at."""
    orders: dict[int, Callable[[str], None]] = {}
    asked: list[int] = []
    found: list[tuple[Reached, str]] = []

    def matters(pid: int) -> bool:
        asked.append(pid)
        return pid > FIRST + 1

    def tell(pid: int, _words: str, done: Callable[[str], None]) -> None:
        orders[pid] = done

    def give(told: set[int]) -> dict[int, str]:
        return {} if told else dict.fromkeys(range(FIRST, FIRST + MANY), "gate closed")

    move = GateMove(Gate.CLOSED, give, tell, lambda gate, why: found.append((gate, why)), matters)
    move.begin()
    for done in tuple(orders.values()):
        done("the process has ended")
    assert asked == [FIRST, FIRST + 1, FIRST + 2]
    assert found == [(Gate.NONE, f"process {FIRST + 2}: the process has ended")]
