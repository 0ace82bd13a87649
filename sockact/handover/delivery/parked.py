"""The supervisor's side of parking.py: quiet connections of one generation, until their next bytes.

A connection that goes back is the program's again, with the events that it had waited for.
"""

from __future__ import annotations

import marshal
import os
import socket
from functools import partial

from sockact.core.record import dataclass
from sockact.handover.delivery import addresses, parking
from sockact.kernel.helper import Helper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sockact.handover.gate import Entry

_MOST = 256
"""Messages that are read at once."""
_LONGEST = parking.NEWS.size + 2 * addresses.LONGEST
_MOST_PARKED = 1000
"""Entries of one order."""
_ABOVE = 4096
"""Descriptors of the program from here on are not parked, unless it had larger ones at first."""


@dataclass(frozen=True)
class News:
    """What has become of a parked connection."""

    index: int
    """Which of the entries it is."""
    entry: Entry
    fd: int | None
    """The connection, on which a request has begun, and which the caller closes; None: it has gone
    back.
    """
    busy: bool = False
    """It was not parked, because it was not quiet any more."""
    client: bytes = b""
    """The address of the client, and the connection's own, as a struct sockaddr."""
    local: bytes = b""


class Parked:
    """Connections of one generation that are parked. The methods that tell the process which looks
    at them raise OSError if it does not listen: it is to be killed then.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Park the connections of these entries. Raises OSError."""
        self._left: dict[int, Entry] = {}
        """Those that are parked, or perhaps."""
        self._last = 0
        self._above = max(_ABOVE, *(2 * entry.fd for entry in entries))
        self._channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.setblocking(False)
        try:
            park = partial(parking.park, channel=other.fileno())
            self._helper = Helper(park, keep=[other.fileno()], above=self._above)
        except OSError:
            self._channel.close()
            raise
        finally:
            other.close()
        self._helper.begin(marshal.dumps(self._above))
        self.add(entries)

    def __len__(self) -> int:
        return len(self._left)

    @property
    def pid(self) -> int:
        """The process that looks at them."""
        return self._helper.pid

    def fileno(self) -> int:
        """Return what can be read when there is news."""
        return self._channel.fileno()

    def helper_fileno(self) -> int:
        """Return what can be read when the process that looks at them has ended."""
        return self._helper.fileno()

    def add(self, entries: Sequence[Entry]) -> None:
        """Park these, too, as far as there is room."""
        fitting = [entry for entry in entries if entry.fd < self._above]
        for first in range(0, len(fitting), _MOST_PARKED):
            some = dict(enumerate(fitting[first : first + _MOST_PARKED], self._last))
            self._last += len(some)
            self._left |= some
            plain = {
                index: (*entry.place[:3], entry.events, entry.data, entry.inode)
                for index, entry in some.items()
            }
            self._tell(parking.PARK, plain)

    def entries(self, indexes: Iterable[int]) -> list[Entry]:
        """The entries with these indexes."""
        return [self._left[index] for index in indexes]

    def inodes(self) -> set[int]:
        """Those of the connections that are parked, or perhaps."""
        return {entry.inode for entry in self._left.values()}

    def news(self) -> list[News] | None:
        """What has happened; None if the process that looks at them has ended."""
        found: list[News] = []
        while len(found) < _MOST:
            try:
                data, fds, _flags, _address = socket.recv_fds(self._channel, _LONGEST, 1)
            except BlockingIOError:
                break
            except ConnectionResetError:
                return found or None
            if not data:
                return found or None
            kind, index, length = parking.NEWS.unpack_from(data)
            entry = self._left[index]
            for fd in fds:
                os.set_inheritable(fd, False)  # The next generation must not keep it open.
            # Without a descriptor left, the kernel drops the connection's: it goes back.
            if kind == parking.REQUEST and not fds:
                self.give_back(index)
            elif kind != parking.REQUEST:
                del self._left[index]
            both = data[parking.NEWS.size :]
            is_busy = kind == parking.BUSY
            found.append(
                News(index, entry, fds[0] if fds else None, is_busy, both[:length], both[length:])
            )
        return found

    def delivered(self, *indexes: int) -> None:
        """Connections are another process's now."""
        for index in indexes:
            del self._left[index]
        self._tell(parking.DELIVERED, [*indexes])

    def give_back(self, *indexes: int) -> None:
        """Give back connections on which a request has begun."""
        self._tell(parking.RETURN, [*indexes])
        for index in indexes:
            del self._left[index]

    def end(self) -> None:
        """Give all back that are still parked, after what was told before."""
        self._channel.close()

    def kill(self) -> None:
        """Kill the process that looks at them, if it has not ended: nothing goes back."""
        self._helper.kill()

    def lost(self) -> list[Entry]:
        """The entries that have not gone back, if the process that looks at them was killed: for
        gate.restore.
        """
        return [*self._left.values()]

    def has_given_back(self) -> bool:
        """Whether the process that looks at them has ended as it should, after `end`."""
        return self._helper.has_ended() and self._helper.result() is not None

    def close(self) -> None:
        """Forget the process that looks at them, which has ended."""
        self._helper.close()

    def _tell(self, kind: int, about: dict[int, parking.Plain] | list[int]) -> None:
        self._channel.send(marshal.dumps((kind, about)))
