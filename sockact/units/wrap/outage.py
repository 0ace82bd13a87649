"""How long an address was without a listener: what clients were refused for."""

from __future__ import annotations

import threading
import time

from sockact.units.listening import is_held

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from sockact.core.matching import Address

_STEP = 0.002


class Outage:
    """Looks at the kernel's tables, some hundred times a second, as long as it is entered."""

    def __init__(self, addresses: Sequence[Address]) -> None:
        self.addresses = tuple(addresses)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.seconds: float | None = 0.0
        """How long it was in all, as exact as the looking; of the address that was worst off. None:
        the tables cannot be read.
        """
        self.cut_off = 0
        """How many waited in a queue that was closed with them in it, because of a failure."""

    def __enter__(self) -> Outage:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        try:
            self._measure()
        except Exception:  # Whatever it is: a number would be made up.
            self.seconds = None

    def _measure(self) -> None:
        last = time.monotonic()
        lost = dict.fromkeys(self.addresses, 0.0)
        while not self._over.wait(_STEP):
            free = [address for address in self.addresses if not is_held(address)]
            now = time.monotonic()
            for address in free:
                lost[address] += now - last
            self.seconds = max(lost.values(), default=0.0)
            last = now
