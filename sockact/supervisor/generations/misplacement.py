"""Notices that a pending generation serves at other addresses than the listeners'.

A program may bind an address of its own, for metrics say, long before those that clients use. So
its silence counts only while it is idle, and sooner if its command line shows which port it uses.
"""

from __future__ import annotations

import time

from sockact.kernel import waits

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.matching import Address
    from sockact.handover.adoption.adopt import Adoption
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop, Timer

_TOLD_AFTER = 0.5
"""Seconds for which an address without a listener may be the first of several."""
_CERTAIN = 5.0
_PROBABLE = 30.0
_AGAIN = 1.0
_DIGITS = frozenset("0123456789")
_MOST_DIGITS = 5
_UNDER_WAY = "RD"


class Misplacement:
    """Watches the binds of one pending generation."""

    def __init__(
        self,
        loop: Loop,
        adoption: Adoption,
        listeners: list[Listener],
        command: tuple[str, ...],
        pids: Callable[[], list[int]],
        found: Callable[[], None],
    ) -> None:
        """`found` is called when `told` or `hopeless` changes."""
        self.told = False
        """The operator should know now."""
        self.hopeless = False
        """It will not bind the listeners any more."""
        self._loop = loop
        self._adoption = adoption
        self._listeners = listeners
        self._command = command
        self._pids = pids
        self._found = found
        self._seen: tuple[int, int, str] = (0, 0, "")
        self._timer: Timer | None = None

    def bound(self) -> None:
        """Look at what the program has bound by now."""
        adoption = self._adoption
        seen = len(adoption.adopted), len(adoption.others), adoption.refusal
        if seen == self._seen:
            return
        self._seen = seen
        self.stop()
        if self._missing() and (adoption.refusal or adoption.others):
            self.told = self.told or bool(adoption.refusal)
            self._timer = self._loop.at(time.monotonic() + _TOLD_AFTER, self._tell)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer:
            self._timer.cancel()
            self._timer = None

    def _missing(self) -> list[Address]:
        adopted = self._adoption.adopted
        return [x.address for x in self._listeners if x.inode not in adopted]

    def _tell(self) -> None:
        self.told = True
        patience = _CERTAIN if self._is_certain() else _PROBABLE
        self._timer = self._loop.at(time.monotonic() + patience - _TOLD_AFTER, self._give_up)
        self._found()

    def _give_up(self) -> None:
        self._timer = None
        if self._is_idle():
            self.hopeless = True
            self._found()
        else:
            self._timer = self._loop.at(time.monotonic() + _AGAIN, self._give_up)

    def _is_certain(self) -> bool:
        """Whether a bind was refused, or the command line names the wrong port and not the right
        one.
        """
        if self._adoption.refusal:
            return True
        words = " ".join(self._command)
        ports = _numbers(words)
        named = [a for a in self._missing() if a.port in ports or (not a.port and a.host in words)]
        return not named and any(address.port in ports for address in self._adoption.others)

    def _is_idle(self) -> bool:
        try:
            threads = [thread for pid in self._pids() for thread in waits.threads(pid)]
        except OSError:
            return False
        return not any(thread.state in _UNDER_WAY for thread in threads)


def _numbers(text: str) -> set[int]:
    """The numbers in a text that may be ports."""
    apart = "".join(character if character in _DIGITS else " " for character in text)
    return {int(digits) for digits in apart.split() if len(digits) <= _MOST_DIGITS}
