"""What outlives a supervisor that is killed, or that fails: docs/fdstore.md.

Listeners of our own, and the pidfds of generations, are in systemd's file descriptor store. The
next supervisor takes the listeners over, and begins when the generations have ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from functools import partial

from sockact.core.message_kinds import News
from sockact.kernel import pidfd
from sockact.kernel.sockets.listener import address_of
from sockact.supervisor.base.loop import READ
from sockact.supervisor.processes.processes import below
from sockact.systemd import fdstore, listeners

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sockact.core.matching import Address
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.systemd.fdstore import Kept, Process
    from sockact.systemd.notify import Notifier

# What systemd needs for a few messages, and a busy machine much longer.
_HEARD_WITHIN = 5.0
_GIVE_UP_AFTER = 5.0
# systemd closes what it has removed in a process of its own, after its answer to a barrier.
_CLOSED_WITHIN = 2.0


def own_listeners(texts: tuple[str, ...], kept: Kept, notifier: Notifier) -> list[Listener]:
    """Those of --listen: as they were kept, or opened, and kept from now on.

    What was kept and is not wanted any more, or is of no use, is closed. Raises OperatorError.
    """
    wanted = {listeners.bound(listeners.parse(text)[1]) for text in texts}
    taken: dict[Address, socket.socket] = {}
    for name, found in kept.listeners:
        address = address_of(found)
        if address in wanted and address not in taken and fdstore.usable(found, address):
            taken[address] = found
        else:
            fdstore.discard(found, address)
            notifier.remove(name)
    patience = 0.0
    if len(taken) < len(kept.listeners):
        # Until systemd has closed them, too, their addresses are in use.
        notifier.wait_heard(_HEARD_WITHIN)
        patience = _CLOSED_WITHIN
    opened = listeners.open_all(texts, taken, patience)
    for listener in opened:
        if listener.address not in taken:
            name = fdstore.listener_name(listener.inode)
            notifier.store(name, listener.socket.fileno(), poll=False)
    return opened


def close_listeners(found: list[Listener], notifier: Notifier, *, ended: bool) -> None:
    """At our end. Unless the service has `ended`, what is our own stays with systemd."""
    for listener in found:
        if listener.owned and ended:
            notifier.remove(fdstore.listener_name(listener.inode))
        listener.close(keep_file=notifier.stores and not ended)


class Leftovers:
    """Generations of a supervisor that is gone: they had their stop signal when it went.

    `forget` is told the names of those that have ended.
    """

    def __init__(
        self,
        loop: Loop,
        processes: list[Process],
        forget: Callable[[str], None],
        say: Callable[[str, News], None],
    ) -> None:
        self._loop = loop
        self._forget = forget
        self._say = say
        self._left = {process.pidfd: process for process in processes}
        self._timer: Timer | None = None
        self._done: Callable[[], None] = lambda: None
        for fd in self._left:
            loop.watch(fd, READ, partial(self._ended, fd))

    def wait(self, kill_timeout: float, done: Callable[[], None]) -> None:
        """Call `done` when all have ended; SIGKILL after the kill timeout, in seconds."""
        self._tell("waiting for it to end")
        self._done = done
        self._timer = self._loop.at(time.monotonic() + kill_timeout, self._kill)

    def close(self) -> None:
        """Wait no more."""
        if self._timer:
            self._timer.cancel()
        while self._left:
            self._close(next(iter(self._left)))

    def _ended(self, fd: int, _mask: int) -> None:
        self._forget(self._left[fd].name)
        self._close(fd)
        if not self._left:
            self.close()
            self._done()

    def _close(self, fd: int) -> None:
        self._loop.unwatch(fd)
        del self._left[fd]
        os.close(fd)

    def _kill(self) -> None:
        self._tell("SIGKILL: still there after the kill timeout", News.SIGNALLED)
        self._timer = self._loop.at(time.monotonic() + _GIVE_UP_AFTER, self._give_up)
        for process in self._left.values():
            _kill_whole(process)

    def _give_up(self) -> None:
        self._tell("it does not end; starting beside it")
        self.close()
        self._done()

    def _tell(self, message: str, news: News = News.NOTE) -> None:
        pids = ", ".join(str(process.pid) for process in self._left.values())
        self._say(f"process {pids}, left by an earlier supervisor: {message}", news)


def living(processes: list[Process], forget: Callable[[str], None]) -> list[Process]:
    """Those that have not ended; `forget` is told the names of the others."""
    poll = select.poll()
    for process in processes:
        poll.register(process.pidfd, select.POLLIN)
    gone = {fd for fd, _events in poll.poll(0)}
    for process in processes:
        if process.pidfd in gone:
            os.close(process.pidfd)
            forget(process.name)
    return [process for process in processes if process.pidfd not in gone]


def _kill_whole(process: Process) -> None:
    """With what it has started. Whether that helped is seen by whether it ends."""
    pids: list[int] = []
    with contextlib.suppress(OSError):
        pids = below(process.pid)
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
    for pid in pids:
        with contextlib.suppress(OSError):
            pidfd.send_signal(pid, signal.SIGKILL)
