"""The helpers of a supervisor (docs/looks.md), which are its children as programs are."""

from __future__ import annotations

import signal

from sockact.kernel import looks, procfs


@looks.apart
def never_answers(pid: int) -> int:
    """A look at a process that keeps the kernel from answering."""
    signal.pause()  # All signals are blocked there.
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
