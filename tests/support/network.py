"""A network of the test's own, whose settings hold for nobody else."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_MIGRATE = Path("/proc/sys/net/ipv4/tcp_migrate_req")


@contextlib.contextmanager
def alone(*, migrate: bool) -> Iterator[None]:
    """Move this thread, and what it starts, into a new network namespace (root only).

    `migrate`: whether the kernel moves connections that wait at a listener that is shut down.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        check(libc.unshare(_CLONE_NEWNET))
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            _MIGRATE.write_text(str(int(migrate)))
            yield
        finally:
            check(libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)
