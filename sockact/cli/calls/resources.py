"""Memory and CPU time of processes, as proc(5) tells; None where it tells nothing, or not until
the given time of CLOCK_MONOTONIC, or after a process that keeps the kernel from answering.
"""

from __future__ import annotations

import contextlib
import os
import time

from sockact.kernel import looks
from sockact.kernel.looks import Unavailable, apart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Within this context, nobody waits for a process that keeps the kernel from answering."""
    looks.begin(_all, _nothing)
    try:
        yield
    finally:
        looks.end()


def _all(_pid: int) -> None:
    """All processes are one group: after one that keeps us waiting, nothing is told."""


def _nothing(_group: object, _message: str) -> None:
    """The supervisor says it."""


def memory_bytes(pids: Sequence[int], until: float) -> int | None:
    """The sum over those processes that can be read."""
    try:
        found = [size for pid in _in_time(pids, until) if (size := _memory(pid))]
    except Unavailable:
        return None
    return sum(found) if found and time.monotonic() < until else None


def cpu_seconds(pids: Sequence[int], until: float) -> float | None:
    """The sum over those processes that can be read."""
    try:
        found = [used for pid in _in_time(pids, until) if (used := _cpu(pid)) is not None]
    except Unavailable:
        return None
    return sum(found) if found and time.monotonic() < until else None


def _in_time(pids: Sequence[int], until: float) -> Iterator[int]:
    """Each process once, until the time is over."""
    for pid in dict.fromkeys(pids):
        if time.monotonic() >= until:
            return
        yield pid


@apart
def _memory(pid: int) -> int | None:
    """Proportional set size, which counts shared pages once; resident size where it is secret."""
    try:
        for line in _read(pid, "smaps_rollup").splitlines():
            if line.startswith(b"Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return int(_read(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return None


@apart
def _cpu(pid: int) -> float | None:
    try:
        # The command name is in parentheses and may itself hold any character.
        fields = _read(pid, "stat").rpartition(b")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb", buffering=0) as file:
        return file.read()
