"""Gates of generations that cannot be told to stop accepting, while nobody else is to get their
clients: no connection begins at their listeners any more.

The kernel drops the first packet of each new TCP connection, so clients wait, and try again after
1 s, 2 s and so on (kernel/sockets/admission.py). What has begun before is the program's to accept;
the gate is closed when nothing of that is left.
"""

from __future__ import annotations

import time
from functools import partial

from sockact.core.lifecycle.model import Gate
from sockact.core.matching import Family, Kind
from sockact.handover import listener_changes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.gates.lending import Lending

    # (generation, gate, reason)
    Moved = Callable[[int, Gate, str], None]

_AGAIN = 0.02
_EMPTY_WITHIN = 2.0
_HANDSHAKE = 1.0
"""Seconds after which a handshake is no longer waited for: its client is gone, or far away."""


class AdmissionGates:
    """Closes such gates, and opens all of them together."""

    def __init__(self, loop: Loop, lending: Lending, moved: Moved) -> None:
        self._loop = loop
        self._lending = lending
        self._moved = moved
        self._closing: dict[int, str] = {}

    def close(self, number: int, reason: str) -> None:
        """Begin to close; `moved` gets the result. `reason` is why the program cannot be told."""
        found = [*self._lending.listeners_of(number)]
        if any(x.address.family is Family.UNIX or x.address.kind is not Kind.STREAM for x in found):
            self._moved(number, Gate.NONE, reason)
            return
        self._closing[number] = reason
        try:
            listener_changes.admit(found, more=False)
            handshakes = self._lending.lanes.handshakes()
        except OSError as error:
            self._fail(number, f"{reason}; connections cannot be held back ({error.strerror})")
            return
        self._look(number, handshakes, time.monotonic())

    def is_closing(self, number: int) -> bool:
        """Whether the gate of a generation is closing or closed in this way."""
        return number in self._closing

    def open(self) -> None:
        """Let connections begin at all listeners. Raises OSError."""
        self._closing.clear()
        every = self._lending.lanes.listeners
        listener_changes.admit([x for x in every if x.address.kind is Kind.STREAM], more=True)

    def _look(self, number: int, handshakes: frozenset[bytes], since: float) -> None:
        if number not in self._closing:
            return
        now = time.monotonic()
        lanes = self._lending.lanes
        try:
            # Before the queue: a handshake that ends meanwhile is in it.
            handshakes &= lanes.handshakes() if now - since < _HANDSHAKE else frozenset()
        except OSError:
            pass  # They are looked at again.
        waiting = lanes.waiting(self._lending.lane_of(number))
        if not (handshakes or waiting):
            self._moved(number, Gate.CLOSED, "")
        elif now - since < _EMPTY_WITHIN:
            again = partial(self._look, number, handshakes, since)
            self._loop.at(now + _AGAIN, again)
        else:
            reason = self._closing[number]
            self._fail(number, f"{reason}; {waiting} connections still wait for it to accept them")

    def _fail(self, number: int, reason: str) -> None:
        del self._closing[number]
        self._moved(number, Gate.NONE, reason)
