"""Listening sockets of a program that runs, beside which those of a .socket unit can be bound.

A duplicate of each (pidfd_getfd(2), Linux 5.6) lets us give it what a second bind() of its address
needs, and say which of the two gets the new connections (kernel/sockets/steering.py).
Raises OSError where that is refused; nothing is changed then.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

from sockact.core.matching import Address, Family, Kind
from sockact.kernel.sockets import listener, steering
from sockact.units import listening

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from sockact.units.listening import Bound

# Seconds. A handshake that was under way ends in a round trip.
_SETTLE = 0.2
_LONGEST = 3.0
_STEP = 0.01


class Seam:
    """The old sockets of each address. Use it as a context manager, or `close` it."""

    def __init__(self, found: Sequence[Bound]) -> None:
        if any(one.address.family is Family.UNIX for one in found):
            # The path goes to whoever binds last, and away with whoever ends first.
            raise OSError("a socket file has one owner")
        self._old: dict[Address, list[socket.socket]] = {}
        self._before: list[tuple[socket.socket, int, int]] = []
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for one in found:
                self._old.setdefault(one.address, []).append(listening.duplicate(one))
            undo.pop_all()

    def __enter__(self) -> Seam:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def share(self) -> None:
        """Let a manager that runs as we do bind the same addresses."""
        for one in self._all():
            shared = one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
            self._before.append((one, shared, os.fstat(one.fileno()).st_uid))
            steering.share(one, os.geteuid())

    def to_old(self) -> None:
        """Until further notice the program gets all that is new."""
        for sockets in self._old.values():
            steering.steer(sockets[0], 0)

    def to_new(self) -> bool:
        """Whoever has bound the same addresses since gets it; False when the program has not
        accepted all that waited.
        """
        for sockets in self._old.values():
            steering.steer(sockets[0], len(sockets))
        emptied = self._wait_empty()
        for sockets in self._old.values():
            # Once the first of several is closed, the kernel counts anew, and spreads again.
            _admit_no_more(sockets if len(sockets) > 1 else [])
        return emptied

    def admit_no_more(self) -> bool:
        """Who comes now is not heard, and tries again a second later; False when the program has
        not accepted all that waited.
        """
        _admit_no_more(self._all())
        return self._wait_empty()

    def admit_again(self) -> None:
        """Take `admit_no_more` back."""
        for one in self._all():
            with contextlib.suppress(OSError):
                steering.admit_again(one)

    def unshare(self) -> None:
        """Take `share` back, and what came after it."""
        self.admit_again()
        self.let_go()
        for one, shared, owner in self._before:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
                os.fchown(one.fileno(), owner, -1)

    def let_go(self) -> None:
        """No choice is made between sockets."""
        for one in self._all():
            with contextlib.suppress(OSError):
                steering.let_go(one)

    def keep_others_out(self) -> None:
        """Nobody binds these addresses, too, and no choice is made between sockets."""
        self.let_go()
        for one in self._all():
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)

    def close(self) -> None:
        """Let go of the old sockets. The kernel ignores the way that is set to one that is gone."""
        for one in self._all():
            one.close()

    def _all(self) -> list[socket.socket]:
        return [one for sockets in self._old.values() for one in sockets]

    def _wait_empty(self) -> bool:
        """Return True when the program has accepted all that waited; False after some time."""
        watched = [
            listener.of_socket("", one, owned=False)
            for address, sockets in self._old.items()
            for one in sockets
            if address.kind is Kind.STREAM
        ]
        empty = time.monotonic()
        deadline = empty + _LONGEST
        while watched:
            now = time.monotonic()
            if any(queue and queue[0] for queue in map(listener.accept_queue, watched)):
                empty = now
            if now >= empty + _SETTLE:
                break
            if now >= deadline:
                return False
            time.sleep(_STEP)
        return True


def _admit_no_more(sockets: Sequence[socket.socket]) -> None:
    for one in sockets:
        if one.type == socket.SOCK_STREAM:
            steering.admit_no_more(one)
