"""Memory and CPU time of processes, as proc(5) tells; None where it tells nothing, or not until
the given time of CLOCK_MONOTONIC.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def memory_bytes(pids: Sequence[int], until: float) -> int | None:
    """The sum over those processes that can be read."""
    found = [size for pid in _in_time(pids, until) if (size := _memory(pid))]
    return sum(found) if found and time.monotonic() < until else None


def cpu_seconds(pids: Sequence[int], until: float) -> float | None:
    """The sum over those processes that can be read."""
    found = [used for pid in _in_time(pids, until) if (used := _cpu(pid)) is not None]
    return sum(found) if found and time.monotonic() < until else None


def _in_time(pids: Sequence[int], until: float) -> Iterator[int]:
    """Each process once, until the time is over."""
    for pid in dict.fromkeys(pids):
        if time.monotonic() >= until:
            return
        yield pid


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
