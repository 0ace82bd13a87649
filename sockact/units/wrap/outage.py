"""What clients notice of a wrap or an unwrap: refused, delayed and cut-off connections."""

from __future__ import annotations

import errno
import os
import socket
import threading
import time
from dataclasses import dataclass

from sockact.core.matching import Kind
from sockact.kernel.sockets import sock_diag
from sockact.units.listening_sockets import is_in_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.core.matching import Address

_STEP = 0.002
# A served program sees each connect() as a client.
_ASK_PAUSE = 0.1
_REFUSED = (errno.ECONNREFUSED, errno.ENOENT, errno.ENOTSOCK, errno.ENOTDIR)


@dataclass(frozen=True)
class Outcome:
    """How clients fared. Times are in seconds."""

    refused: float | None = 0.0
    """How long connections were refused; None if that could not be measured."""
    waited: float = 0.0
    """The longest that a new connection had to wait, also for TCP to try again."""
    cut_off: bool = False
    """Connections may still have waited in the queue of the old socket when it was closed."""
    retried: bool = False
    """New connections were not answered meanwhile, and their clients' kernels tried again."""
    unsure: float = 0.0
    """How much longer or shorter connections may have been refused."""


class Refusals:
    """How long one address was free, by looks at it, each at some moment between two times.

    On a busy machine, looks take long and are far from each other: a change is taken to lie halfway
    between the beginning of the one before it and the end of the one after it.
    """

    def __init__(self) -> None:
        self.seconds = 0.0
        self.unsure = 0.0
        """How much longer or shorter that may have been."""
        self._before = 0.0
        self._free_since: float | None = None
        self._total = 0.0

    def look(self, began: float, ended: float, *, free: bool) -> None:
        """Take note of a look."""
        was_free = self._free_since is not None
        earliest = self._before or began
        if free is not was_free:
            self.unsure += (ended - earliest) / 2
            changed = (earliest + ended) / 2
            if self._free_since is not None:
                self._total += changed - self._free_since
            self._free_since = changed if free else None
        since = self._free_since
        self.seconds = self._total + (0.0 if since is None else ended - since)
        self._before = began


class Outage:
    """The time for which clients of addresses are refused.

    While the context is entered, a thread reads the kernel's tables some hundred times a second. A
    socket file is asked by its path, as clients do: a program may remove the file long before its
    socket is closed.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.addresses = tuple(addresses)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._asked: dict[Address, float] = {}
        self.seconds: float | None = 0.0
        """The total, for the address that was worst off; None if the tables cannot be read."""
        self.unsure = 0.0
        """How much longer or shorter that may have been."""
        self.first: float | None = None
        """When connections were first refused, by time.monotonic()."""
        self.last = 0.0
        """When they were last refused; 0 if they never were."""
        self.cut_off = 0
        """How many connections waited in a queue that had to be closed because of a failure."""

    def __enter__(self) -> Outage:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            self._measure()
        except Exception:  # Whatever it is, the number would be wrong.
            self.seconds = None

    def _measure(self) -> None:
        refusals = {address: Refusals() for address in self.addresses}
        while not self._over.wait(_STEP):
            for address, its in refusals.items():
                began = time.monotonic()
                free = not self._answers(address)
                ended = time.monotonic()
                its.look(began, ended, free=free)
                if free:
                    self.first, self.last = self.first or ended, ended
            self.seconds = max((its.seconds for its in refusals.values()), default=0.0)
            self.unsure = max((its.unsure for its in refusals.values()), default=0.0)

    def _answers(self, address: Address) -> bool:
        """Whether a client could connect now. Raises OSError."""
        if not address.is_file:
            return is_in_use(address)
        now = time.monotonic()
        before = self._asked.get(address, 0.0)
        if _leads_to_listener(address.host) and now < before + _ASK_PAUSE:
            return True
        self._asked[address] = now
        return address.kind is not Kind.STREAM or can_connect(address.host)


def _leads_to_listener(path: str) -> bool:
    """Whether the file at the path is that of a listening socket, as far as its inode tells."""
    try:
        number = os.stat(path).st_ino & 0xFFFFFFFF
    except OSError:
        return False
    return number in {one.file[1] for one in sock_diag.unix_listeners() if one.file}


def can_connect(path: str) -> bool:
    """Whether connect() to a socket file is not refused; a full queue is no refusal."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        return client.connect_ex(path) not in _REFUSED
