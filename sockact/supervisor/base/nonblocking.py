"""Writing to descriptors that we share with others, without ever waiting.

O_NONBLOCK would change the terminal or the journal's stream under everybody who has it. poll() and
a write of at most PIPE_BUF bytes have the same effect: pipe(7) promises that such a write does not
block.
"""

from __future__ import annotations

import os
import select

CHUNK = 4096


def writable(fd: int) -> bool:
    """Would a write of CHUNK bytes be taken now? Also true when it would fail at once."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def write_now(fd: int, data: bytes) -> int:
    """Write what goes at once; how many bytes were taken. A reader that is gone takes all."""
    taken = 0
    while taken < len(data) and writable(fd):
        try:
            taken += os.write(fd, data[taken : taken + CHUNK])
        except BlockingIOError:
            break
        except OSError:
            return len(data)
    return taken
