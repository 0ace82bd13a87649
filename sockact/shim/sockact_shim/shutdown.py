"""Shutting a listener down succeeds and does nothing, once its generation drains.

The socket is everybody's: the kernel would refuse the successor's clients. Twisted does it to
whatever it closes.
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
    """From now on socket.socket.shutdown leaves these listeners alone."""
    module = sys.modules.get("socket")
    if module is None:
        return
    if not _spared:
        module.socket.shutdown = _sparing(module.socket.shutdown)
    _spared.update(inodes)


def _sparing(plain: Callable[..., None]) -> Callable[..., None]:
    def shutdown(self: Any, how: int) -> None:
        # What is no open socket is for the plain method to complain of.
        fd = self.fileno()
        if fd < 0 or os.fstat(fd).st_ino not in _spared:
            plain(self, how)

    return disguised(shutdown, plain)
