"""What cannot be done for want of descriptors or memory is done in a moment instead.

Not to know is no reason to end the service, nor to take a generation for gone.
"""

from __future__ import annotations

import time
from functools import partial

from sockact.kernel.procfs import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from sockact.supervisor.base.loop import Loop

_AGAIN = 0.1


class Retry:
    """Attempts by key: a later one replaces an earlier one that still waits. `say` is told once for
    each time of want.
    """

    def __init__(self, loop: Loop, say: Callable[[str], None]) -> None:
        self._loop = loop
        self._say = say
        self._told = False
        self._waiting: dict[Hashable, Callable[[], None]] = {}

    def attempt(self, key: Hashable, work: Callable[[], None]) -> None:
        """Do it now, or as soon as it can be done."""
        self._waiting[key] = work
        self._try(key, work)

    def busy(self) -> bool:
        """Does something wait to be done?"""
        return bool(self._waiting)

    def _try(self, key: Hashable, work: Callable[[], None]) -> None:
        if self._waiting.get(key) is not work:
            return
        try:
            work()
        except Unavailable as error:
            if not self._told:
                self._told = True
                self._say(f"/proc cannot be read now ({error.strerror}); trying again")
            self._loop.at(time.monotonic() + _AGAIN, partial(self._try, key, work))
            return
        if self._waiting.get(key) is work:
            del self._waiting[key]
        if not self._waiting:
            self._told = False
