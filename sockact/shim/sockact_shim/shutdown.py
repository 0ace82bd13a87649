"""Makes shutdown() of a listener succeed without effect while its generation drains.

All generations share the socket, and the kernel would refuse the successor's clients. Twisted shuts
down every socket that it closes.
"""

from __future__ import annotations

import os
import sys

from .unlink import disguised

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable

_spared: set[int] = set()


def spare(inodes: Iterable[int]) -> None:
    """Make socket.socket.shutdown ignore these listeners."""
    module = sys.modules.get("socket")
    if module is None:
        return
    if not _spared:
        module.socket.shutdown = _sparing(module.socket.shutdown)
    _spared.update(inodes)


def _sparing(plain: Callable[..., None]) -> Callable[..., None]:
    def shutdown(self: Any, how: int) -> None:
        # The original raises the error for a socket that is not open.
        fd = self.fileno()
        if fd < 0 or os.fstat(fd).st_ino not in _spared:
            _patiently(plain, self, how)

    return disguised(shutdown, plain)


def _patiently(plain: Callable[..., None], *args: Any) -> None:
    """Call it again after EINTR, which it never returns unless it is notified: seccomp(2)."""
    while True:
        try:
            return plain(*args)
        except InterruptedError:
            pass
