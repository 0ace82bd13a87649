"""Watching a pending generation until it waits for connections on every listener.

Nothing in the kernel announces that; so it is looked at, often at first, ever more seldom later,
and at once after each bind or listen. The watch ends with the pending state.
"""

from __future__ import annotations

import time

from sockact.core.settings import Adopt
from sockact.handover.census import count
from sockact.handover.interest import interest
from sockact.kernel.procfs import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.handover.adopt import Adoption
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.processes.processes import Processes

_FIRST = 0.005
_GROWTH = 1.5
_LONGEST = 0.1
_AFTER_CALL = 0.002
_BLIND_AFTER = 0.3
"""Seconds until a process that may not be read is worth telling of: many only start a helper."""

NO_SHIM = (
    "it did not ask the shim for a listener; if it is not Python, or runs with -I, -E or -S, "
    "it needs --adopt seccomp"
)
NOT_TAKEN = (
    "if its address was in use, it must take its listeners from LISTEN_FDS (sd_listen_fds(3)), "
    "or --adopt native must be left out"
)


class Readiness:
    """The watch over one pending generation."""

    def __init__(
        self,
        loop: Loop,
        generation: int,
        processes: Processes,
        listeners: list[Listener],
        ready: Callable[[], None],
        blind: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._generation = generation
        self._processes = processes
        self._listeners = listeners
        self._ready = ready
        self._blind = blind
        self._pause = _FIRST
        self._seen: set[int] = set()
        self._timer: Timer | None = None
        self._unreadable_since: float | None = None
        self._told: set[int] = set()
        self._schedule(_FIRST)

    @property
    def seen(self) -> set[int]:
        """The inodes of the listeners that something has been seen waiting on."""
        return self._seen

    def nudge(self) -> None:
        """The program has just called bind or listen: look soon."""
        if self._timer:
            self._timer.cancel()
            self._told.clear()  # The caller has just replaced what was told.
            self._pause = _FIRST
            self._schedule(_AFTER_CALL)

    def stop(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _schedule(self, pause: float) -> None:
        self._timer = self._loop.at(time.monotonic() + pause, self._look)

    def _look(self) -> None:
        pids = self._processes.of(self._generation)
        inodes = {listener.inode for listener in self._listeners}
        try:
            found, unreadable = interest(pids, inodes)
        except Unavailable:
            self._schedule(_LONGEST)
            return
        self._seen |= found
        missing = [x for x in self._listeners if x.inode not in self._seen]
        if missing:
            self._seen |= self._accepted(pids, missing)
        if self._seen >= inodes:
            self._timer = None
            self._ready()
            return
        self._tell(unreadable)
        self._pause = min(_LONGEST, self._pause * _GROWTH)
        self._schedule(self._pause)

    def _tell(self, unreadable: set[int]) -> None:
        """Should it never get ready: perhaps it is only that we may not look. We go on looking."""
        if not unreadable:
            self._unreadable_since = None
        elif self._unreadable_since is None:
            self._unreadable_since = time.monotonic()
        elif time.monotonic() - self._unreadable_since >= _BLIND_AFTER and not (
            self._seen or unreadable <= self._told
        ):
            self._told = unreadable
            pids = ", ".join(map(str, sorted(unreadable)))
            self._blind(f"process {pids} cannot be read")

    def _accepted(self, pids: list[int], missing: list[Listener]) -> set[int]:
        """Listeners with a connection that the generation has accepted.

        A single-threaded server under load is hardly ever caught waiting.
        """
        found = set()
        for listener in missing:
            try:
                counts = count({self._generation: pids}, [listener])
            except OSError:
                continue  # No sock_diag: only waiting counts, then.
            if counts and counts[self._generation].total:
                found.add(listener.inode)
        return found


def missing_hint(
    adoption: Adoption, listeners: list[Listener], seen: set[int], native: bool
) -> str:
    """Why a generation may never get ready: what it bound, and what it did not."""
    names = ", ".join(str(x.address) for x in listeners)
    if adoption.refusal:
        return adoption.refusal
    if not adoption.adopted and not native:
        bound = ", ".join(map(str, adoption.others))
        did = f"it bound {bound}, which no listener covers" if bound else "it bound no address"
        return f"{did}; make the program bind {names}, or change ListenStream= (--listen)"
    waiting = [str(x.address) for x in listeners if x.inode not in seen]
    return f"nothing waits for connections on {', '.join(waiting)}" if waiting else ""


def refusal_of(adopt: Adopt, adoption: Adoption) -> str:
    """Why it may end instead: what it was refused, or has not asked for."""
    if adopt is Adopt.NATIVE:
        return NOT_TAKEN
    if adopt is Adopt.SHIM and not adoption.adopted and not adoption.refusal:
        return NO_SHIM
    return adoption.refusal
