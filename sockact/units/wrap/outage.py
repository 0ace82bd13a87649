"""What clients notice of a wrap or an unwrap: refused, delayed and cut-off connections."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from sockact.units.listening_sockets import is_in_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.core.matching import Address

_STEP = 0.002


@dataclass(frozen=True)
class Outcome:
    """How clients fared. Times are in seconds."""

    refused: float | None = 0.0
    """How long connections were refused; None if that could not be measured."""
    waited: float = 0.0
    """The longest that a new connection had to wait."""
    cut_off: bool = False
    """Connections may still have waited in the queue of the old socket when it was closed."""
    retried: bool = False
    """New connections were not answered meanwhile, and their clients' kernels tried again."""


class Outage:
    """The time for which addresses have no listener.

    While the context is entered, a thread reads the kernel's tables some hundred times a second.
    """

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.addresses = tuple(addresses)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seconds: float | None = 0.0
        """The total, for the address that was worst off; None if the tables cannot be read."""
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
        last = time.monotonic()
        lost = dict.fromkeys(self.addresses, 0.0)
        while not self._over.wait(_STEP):
            free = [address for address in self.addresses if not is_in_use(address)]
            now = time.monotonic()
            for address in free:
                lost[address] += now - last
            self.seconds = max(lost.values(), default=0.0)
            last = now
