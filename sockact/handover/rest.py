"""Is a process at rest: can it have a connection in hand that was announced before its gate closed?

A closed gate tells nobody of new connections, but a process may have been told just before, and
not have got round to accept(): it was starved, stopped, or busy with what else it was told of.
"""

from __future__ import annotations

from sockact.kernel import procfs
from sockact.kernel.kcmp import same_file

_UNDER_WAY = "RDTt"
"""Runnable, in a short sleep of the kernel's, stopped (proc_pid_stat(5))."""


def at_rest(pid: int, loops: set[int]) -> bool:
    """No thread is under way, and on each of the epoll instances out of which the listener was
    taken somebody waits: whatever it had announced is worked off. A process that is gone is at
    rest, one that may not be read is not. Raises procfs.Unavailable.
    """
    try:
        threads = procfs.threads(pid)
    except PermissionError:
        return False
    if any(thread.state in _UNDER_WAY for thread in threads):
        return False
    waited_on = {thread.waits_on for thread in threads if thread.waits_on is not None}
    # tokio keeps two descriptors of its epoll instance, and waits on one.
    return not threads or all(
        loop in waited_on or any(same_file(pid, loop, other) for other in waited_on)
        for loop in loops
    )
