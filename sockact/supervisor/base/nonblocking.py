"""Writes that never block, to descriptors that other processes share.

O_NONBLOCK would change the terminal or the journal's stream for every process that has it open.
poll(2) and writes of at most PIPE_BUF bytes have the same effect: pipe(7) guarantees that such a
write does not block.
"""

from __future__ import annotations

import os
import select

CHUNK = 4096
"""PIPE_BUF, in bytes."""


def writable(fd: int) -> bool:
    """Whether a write of CHUNK bytes would return at once, even if with an error."""
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))


def write_now(fd: int, data: bytes) -> int:
    """Write as much as possible at once, in whole lines if they are short enough; return the number
    of bytes written.

    If the reader is gone, all bytes count as written.
    """
    taken = 0
    while taken < len(data) and writable(fd):
        end = taken + CHUNK
        if end < len(data):
            # Another process may write between two writes: its line would tear one of these.
            end = data.rfind(b"\n", taken, end) + 1 or end
        try:
            taken += os.write(fd, data[taken:end])
        except BlockingIOError:
            break
        except OSError:
            return len(data)
    return taken
