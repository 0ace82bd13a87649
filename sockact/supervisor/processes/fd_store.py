"""Listeners and generations that outlive a supervisor that is killed or fails: docs/fdstore.md.

systemd's file descriptor store keeps the listeners of --listen and the pidfds of the generations.
The next supervisor takes over the listeners, and begins when those generations have ended.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from functools import partial

from sockact.core.message_kinds import News
from sockact.handover import lane_opening
from sockact.kernel import pidfd
from sockact.kernel.sockets.listener import address_of
from sockact.supervisor.base.loop import READ
from sockact.supervisor.processes.family import descendants
from sockact.systemd import fdstore, listeners

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from sockact.core.matching import Address
    from sockact.handover.lanes import Lanes
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.systemd.fdstore import Kept, Process
    from sockact.systemd.notify import Notifier

# Seconds. systemd reads a few messages much faster, except on a busy machine.
_HEARD_WITHIN = 5.0
_GIVE_UP_AFTER = 5.0
# systemd closes removed descriptors in a separate process, after it has answered a barrier.
_CLOSED_WITHIN = 2.0


def own_listeners(
    texts: tuple[str, ...], kept: Kept, notifier: Notifier, *, grouped: bool = False
) -> list[Listener]:
    """Return the listeners of --listen: those from the store, else newly opened and stored.
    `grouped`: lanes are to be opened beside them.

    Stored listeners that are no longer wanted, or are unusable, are closed. Raises OperatorError.
    """
    wanted = {listeners.bound(listeners.parse(text)[1]) for text in texts}
    alone = listeners.only_ipv6(texts)
    taken: dict[Address, socket.socket] = {}
    for name, found in kept.listeners:
        address = address_of(found)
        usable = address in wanted and address not in taken and fdstore.usable(found, address)
        if usable and listeners.takes_as_wanted(found, address, alone):
            taken[address] = found
        else:
            fdstore.discard(found, address)
            notifier.remove(name)
    patience = 0.0
    if drop_lanes(kept, taken, notifier) or len(taken) < len(kept.listeners):
        # Their addresses are in use until systemd has closed them, too.
        notifier.wait_heard(_HEARD_WITHIN)
        patience = _CLOSED_WITHIN
    opened = listeners.open_all(texts, taken, patience, grouped=grouped)
    for listener in opened:
        if listener.address not in taken:
            notifier.store(_name(listener), listener.socket.fileno(), poll=False)
    return opened


def drop_lanes(kept: Kept, addresses: Container[Address], notifier: Notifier) -> bool:
    """Close the lanes from the store that are not at these addresses; return whether there are any.

    One that was shut down can listen again.
    """
    usable = [one for one in kept.lanes if address_of(one[2]) in addresses]
    dropped = [one for one in kept.lanes if one not in usable]
    for name, _lane, found in dropped:
        with contextlib.suppress(OSError):
            found.shutdown(socket.SHUT_RD)  # It leaves the group, although systemd still has it.
        found.close()
        notifier.remove(name)
    kept.lanes[:] = usable
    return bool(dropped)


def own_lanes(first: list[Listener], kept: Kept, notifier: Notifier, count: int) -> Lanes:
    """Return `count` lanes at the addresses of these listeners: those from the store if all are
    there, else newly opened and stored. If that is impossible, there is one.
    """
    stored = {(address_of(found), lane): found for _name, lane, found in kept.lanes}
    opened = lane_opening.reopen(first, stored, count)
    if opened is None:
        drop_lanes(kept, (), notifier)
        opened = lane_opening.open_beside(first, count)
        for listener in opened.listeners[len(first) :]:
            notifier.store(_name(listener), listener.socket.fileno(), poll=False)
    return opened


def _name(listener: Listener) -> str:
    if listener.lane:
        return fdstore.lane_name(listener.lane, listener.inode)
    return fdstore.listener_name(listener.inode)


def close_listeners(found: list[Listener], notifier: Notifier, *, ended: bool) -> None:
    """Close the listeners; unless the service has `ended`, our own stay in the store."""
    for listener in found:
        if listener.owned and ended:
            notifier.remove(_name(listener))
        listener.close(keep_file=notifier.stores and not ended)


class Leftovers:
    """The generations of an earlier supervisor, which got their stop signal when it ended.

    `forget` is called with the name of each that has ended.
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
        """Call `done` when all have ended; after `kill_timeout` seconds, send SIGKILL."""
        self._tell("waiting for {} to exit")
        self._done = done
        self._timer = self._loop.at(time.monotonic() + kill_timeout, self._kill)

    def close(self) -> None:
        """Stop waiting."""
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
        self._tell("{}: still running after the kill timeout, sending SIGKILL", News.SIGNALLED)
        self._timer = self._loop.at(time.monotonic() + _GIVE_UP_AFTER, self._give_up)
        for process in self._left.values():
            _kill_whole(process)

    def _give_up(self) -> None:
        self._tell("{}: did not exit; starting the service anyway")
        self.close()
        self._done()

    def _tell(self, message: str, news: News = News.NOTE) -> None:
        pids = ", ".join(str(process.pid) for process in self._left.values())
        which = "process" if len(self._left) == 1 else "processes"
        self._say(message.format(f"{which} {pids} of an earlier supervisor"), news)


def living(processes: list[Process], forget: Callable[[str], None]) -> list[Process]:
    """Return the processes that have not ended; call `forget` with the names of the others."""
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
    """Kill a process and its descendants. Errors do not matter: its pidfd shows whether it ends."""
    pids: list[int] = []
    with contextlib.suppress(OSError):
        pids = descendants(process.pid)
    with contextlib.suppress(OSError):
        signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
    for pid in pids:
        with contextlib.suppress(OSError):
            pidfd.send_signal(pid, signal.SIGKILL)
