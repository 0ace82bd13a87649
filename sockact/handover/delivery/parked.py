"""The supervisor's side of parking.py: quiet connections of one process, until their next bytes.

A connection that goes back is the process's again, with the events that it had waited for.
"""

from __future__ import annotations

import marshal
import socket
from functools import partial

from sockact.core.record import dataclass
from sockact.handover.delivery import parking
from sockact.kernel.helper import Helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.handover.gate import Entry

_MOST = 256
"""Messages that are read at once."""


@dataclass(frozen=True)
class News:
    """What has become of a parked connection."""

    index: int
    """Which of the entries it is."""
    fd: int | None
    """The connection, on which a request has begun, and which the caller closes; None: it has gone
    back.
    """


class Parked:
    """Connections of one process that are parked."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Park the connections of these entries. Raises OSError."""
        self._left = dict(enumerate(entries))
        """Those that are parked, or perhaps."""
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        above = 1 + max(entry.fd for entry in entries)
        try:
            park = partial(parking.park, channel=other.fileno())
            self._helper = Helper(park, keep=[other.fileno()], above=above)
        except OSError:
            self._channel.close()
            raise
        finally:
            other.close()
        plain = [(*x.place[:3], x.events, x.data, x.inode) for x in entries]
        self._helper.begin(marshal.dumps(plain))

    @property
    def pid(self) -> int:
        """The process that looks at them."""
        return self._helper.pid

    def fileno(self) -> int:
        """Return what can be read when there is news."""
        return self._channel.fileno()

    def news(self) -> list[News] | None:
        """What has happened; None if the process that looks at them has ended."""
        found: list[News] = []
        while len(found) < _MOST:
            try:
                data, fds, _flags, _address = socket.recv_fds(
                    self._channel, parking.MESSAGE.size, 1
                )
            except BlockingIOError:
                break
            except ConnectionResetError:
                return found or None
            if not data:
                return found or None
            kind, index = parking.MESSAGE.unpack(data)
            # Without a descriptor left, the kernel drops the connection's: it goes back.
            if kind == parking.REQUEST and not fds:
                self.give_back(index)
            found.append(News(index, fds[0] if fds else None))
            if not fds:
                self._left.pop(index, None)
        return found

    def delivered(self, index: int) -> None:
        """The connection is another process's now. Raises OSError."""
        del self._left[index]
        self._channel.send(parking.MESSAGE.pack(parking.DELIVERED, index))

    def give_back(self, index: int) -> None:
        """Give back a connection on which a request has begun. Raises OSError."""
        self._channel.send(parking.MESSAGE.pack(parking.RETURN, index))

    def end(self) -> None:
        """Give all back that are still parked, after what was told before."""
        self._channel.close()

    def lost(self) -> list[Entry]:
        """The entries that have not gone back, if the process that looks at them was killed: for
        gate.restore.
        """
        return [*self._left.values()]

    def close(self) -> None:
        """Forget the process that looks at them, which has ended."""
        self._helper.close()
