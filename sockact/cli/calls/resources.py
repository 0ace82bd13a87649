"""Memory and CPU time of processes, as proc(5) tells; None where it tells nothing."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def memory_bytes(pids: Sequence[int]) -> int | None:
    """The sum over those processes that can be read."""
    found = [size for pid in pids if (size := _memory(pid))]
    return sum(found) if found else None


def cpu_seconds(pids: Sequence[int]) -> float | None:
    """The sum over those processes that can be read."""
    found = [used for pid in pids if (used := _cpu(pid)) is not None]
    return sum(found) if found else None


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
