"""The helpers of a supervisor (docs/looks.md), which are its children as programs are."""

from __future__ import annotations

import signal
import time

from sockact.kernel import looks, procfs


@looks.apart
def never_answers(pid: int) -> int:
    """A look at a process that keeps the kernel from answering."""
    signal.pause()  # All signals are blocked there.
    return pid


@looks.apart
def computes(pid: int, seconds: float) -> int:
    """A look that takes this much time of a processor."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass
    return pid


def helpers(supervisor: int) -> list[int]:
    """The living helpers of this process."""
    return [pid for pid in procfs.children(supervisor) if _is_helper(pid)]


def _is_helper(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read() == "sockact-look\n" and procfs.lives(pid)
    except OSError:
        return False  # It has ended meanwhile.
