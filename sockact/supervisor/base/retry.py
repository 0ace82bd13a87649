"""Retries of work that fails because descriptors or memory are short.

A failure to read /proc is no reason to end the service, nor to take a generation for gone. Neither
is a bug of ours, which is reported; the work is retried then, too, though not as often.
"""

from __future__ import annotations

import time
from functools import partial

from sockact.kernel.procfs import Unavailable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from sockact.supervisor.base.loop import Loop

_PAUSE = 0.1
"""Seconds between two attempts."""
_AFTER_FAULT = 1.0
"""Seconds until an attempt that follows an unexpected exception."""


class Retry:
    """Does work now or later, by key: newer work replaces older work that still waits.

    `say` is called once for each shortage.
    """

    def __init__(self, loop: Loop, say: Callable[[str], None]) -> None:
        self._loop = loop
        self._say = say
        self._told = False
        self._waiting: dict[Hashable, Callable[[], None]] = {}

    def attempt(self, key: Hashable, work: Callable[[], None]) -> None:
        """Do the work now, or as soon as it succeeds."""
        self._waiting[key] = work
        self._try(key, work)

    def busy(self) -> bool:
        """Whether some work still waits."""
        return bool(self._waiting)

    def _try(self, key: Hashable, work: Callable[[], None]) -> None:
        if self._waiting.get(key) is not work:
            return
        try:
            work()
        except Unavailable as error:
            if not self._told:
                self._told = True
                self._say(f"cannot read /proc ({error.strerror}); retrying")
            self._again(_PAUSE, key, work)
            return
        except Exception as error:
            self._again(_AFTER_FAULT, key, work)
            self._loop.note(error)
            return
        if self._waiting.get(key) is work:
            del self._waiting[key]
        if not self._waiting:
            self._told = False

    def _again(self, pause: float, key: Hashable, work: Callable[[], None]) -> None:
        self._loop.at(time.monotonic() + pause, partial(self._try, key, work))
