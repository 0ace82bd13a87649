"""A fork keeps the descriptors that it names, and no others."""

from __future__ import annotations

import os

import pytest

from sockact.kernel.libc import close_others


@pytest.mark.parametrize("kept", [(0, 1, 2), (0, 2), (1,), ()])
def test_only_these_stay(kept: tuple[int, ...]) -> None:
    read, write = os.pipe()
    high, other = os.dup(read), os.dup(read)
    pid = os.fork()
    if not pid:
        try:
            close_others([high, *kept, write])
            open_ones = [fd for fd in range(max(high, other, write) + 1) if _is_open(fd)]
            os.write(write, repr(open_ones).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    found = os.read(read, 4096).decode()
    for fd in (read, high, other):
        os.close(fd)
    assert found == repr(sorted({*kept, high, write}))


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
