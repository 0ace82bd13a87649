"""The listening sockets of a running service, and which new connections they get.

Through a duplicate of each (pidfd_getfd(2), Linux 5.6) we allow a second bind() of its address, for
the .socket unit, and choose which of the two gets new connections (kernel/sockets/reuseport.py).
Raises OSError if that is refused; nothing is changed then.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time

from sockact.core.matching import Address, Family, Kind
from sockact.kernel.sockets import admission, listener, reuseport
from sockact.kernel.sockets.reuseport import Steering
from sockact.units import listening_sockets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.units.listening_sockets import Bound

# Seconds. A handshake that is under way takes a round trip.
_SETTLE = 0.2
_LONGEST = 3.0
_STEP = 0.01


class ServiceSockets:
    """Duplicates of a service's sockets. Use it as a context manager, or `close` it."""

    def __init__(self, found: Sequence[Bound]) -> None:
        if any(one.address.family is Family.UNIX for one in found):
            # The last to bind gets the path, and the first to end removes it.
            raise OSError("a socket file cannot be shared")
        self._found = found
        self._sockets: dict[Address, list[socket.socket]] = {}
        # The option SO_REUSEPORT and the owner of each before `share`.
        self._before: list[tuple[int, int]] = []
        self._duplicate()

    def _duplicate(self) -> None:
        with contextlib.ExitStack() as undo:
            undo.callback(self.close)
            for one in self._found:
                self._sockets.setdefault(one.address, []).append(listening_sockets.duplicate(one))
            undo.pop_all()

    def __enter__(self) -> ServiceSockets:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def share(self) -> None:
        """Let systemd, if it runs as our user, bind the same addresses."""
        for one in self._all():
            shared = one.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
            self._before.append((shared, os.fstat(one.fileno()).st_uid))
            reuseport.share(one, os.geteuid())

    def hold_connections(self) -> None:
        """Direct all new connections to these sockets, before another one is bound beside them."""
        for sockets in self._sockets.values():
            reuseport.begin(sockets[0])

    def keep_connections(self) -> None:
        """Direct all new connections to these sockets."""
        for sockets in self._sockets.values():
            reuseport.attach(sockets[0], Steering(0))

    def pass_connections(self) -> bool:
        """Direct all new connections to the sockets that were bound since `share`.

        False if the program did not accept all connections that were waiting.
        """
        for sockets in self._sockets.values():
            reuseport.attach(sockets[0], Steering(len(sockets)))
        emptied = self._wait_empty()
        for sockets in self._sockets.values():
            # Once the first of several is closed, the kernel distributes connections again.
            _admit_no_more(sockets if len(sockets) > 1 else [])
        return emptied

    def admit_no_more(self) -> bool:
        """Ignore new connections, which TCP retries a second later.

        False if the program did not accept all connections that were waiting.
        """
        _admit_no_more(self._all())
        return self._wait_empty()

    def admit_again(self) -> None:
        """Undo `admit_no_more`."""
        for one in self._all():
            with contextlib.suppress(OSError):
                admission.admit_again(one)

    def unshare(self) -> None:
        """Undo `share` and everything after it."""
        self.admit_again()
        self.stop_steering()
        for one, (shared, owner) in zip(self._all(), self._before, strict=False):
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, shared)
                os.fchown(one.fileno(), owner, -1)

    def stop_steering(self) -> None:
        """Let the kernel choose between the sockets of an address again."""
        for one in self._all():
            with contextlib.suppress(OSError):
                reuseport.detach(one)

    def make_exclusive(self) -> None:
        """Let nobody else bind these addresses any more, except where they have lanes."""
        for one in (found[0] for found in self._sockets.values() if len(found) == 1):
            reuseport.detach(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)

    def close(self) -> None:
        """Close the duplicates. Steering stays in effect as long as the sockets exist."""
        for one in self._all():
            one.close()
        self._sockets.clear()

    def regain(self) -> None:
        """Duplicate the sockets anew after `close`, if the program still has them. Raises
        OSError.
        """
        if not self._sockets:
            self._duplicate()

    def _all(self) -> list[socket.socket]:
        return [one for sockets in self._sockets.values() for one in sockets]

    def _wait_empty(self) -> bool:
        """Return True once the program has accepted all waiting connections; False at a timeout."""
        watched = [
            listener.of_socket("", one, owned=False)
            for address, sockets in self._sockets.items()
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
            admission.admit_no_more(one)
