"""What a generation's processes use, by psutil: the only module that imports it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil  # type: ignore[import-untyped, unused-ignore]

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Usage:
    """Sums over processes; None when none of them could be read."""

    memory_bytes: int | None
    cpu_seconds: float | None


def usage(pids: Sequence[int]) -> Usage:
    """Sum up the processes; those that ended meanwhile or are not ours to see count nothing."""
    memory = [size for pid in pids if (size := _memory(pid)) is not None]
    cpu = [time for pid in pids if (time := _cpu(pid)) is not None]
    return Usage(sum(memory) if memory else None, sum(cpu) if cpu else None)


def _memory(pid: int) -> int | None:
    """Proportional set size, which counts shared pages once; resident size where it is secret."""
    try:
        process = psutil.Process(pid)
        try:
            return int(process.memory_full_info().pss)
        except psutil.AccessDenied:
            return int(process.memory_info().rss)
    except psutil.Error:
        return None


def _cpu(pid: int) -> float | None:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)
