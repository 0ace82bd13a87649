"""CPU time and memory of one generation."""

from __future__ import annotations

from sockact.kernel import procfs

_MOST = 256
"""Processes that are looked at; a generation with more is not measured."""


class Usage:
    """Grows with the CPU time of all processes that were seen, those that have ended included."""

    def __init__(self) -> None:
        self.cpu = 0.0
        """Seconds."""
        self.memory: int | None = None
        """Bytes that are no file's; None if that is unknown."""
        self._before: dict[int, float] = {}

    def look(self, pids: list[int]) -> None:
        """Look at the living processes. Raises procfs.Unavailable."""
        if not 0 < len(pids) <= _MOST:
            self.memory = None
            return
        found = procfs.usage(pids)
        for pid, (cpu, _memory) in found.items():
            self.cpu += max(0.0, cpu - self._before.get(pid, 0.0))
        self._before = {pid: cpu for pid, (cpu, _memory) in found.items()}
        self.memory = sum(memory for _cpu, memory in found.values()) if found else None
