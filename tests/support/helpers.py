"""The helpers of a supervisor (docs/looks.md), which are its children as programs are."""

from __future__ import annotations

from sockact.kernel import procfs


def helpers(supervisor: int) -> list[int]:
    """The living helpers of this process."""
    return [pid for pid in procfs.children(supervisor) if _is_helper(pid)]


def _is_helper(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read() == "sockact-look\n" and procfs.lives(pid)
    except OSError:
        return False  # It has ended meanwhile.
