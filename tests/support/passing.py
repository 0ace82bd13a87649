"""Passing descriptors to a program as systemd does: sd_listen_fds(3)."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIRST = 3
# What systemd does between fork and exec.
AS_SYSTEMD = """
import os, sys
for target, fd in enumerate({fds}, 3):
    os.dup2(fd, target)
    os.close(fd)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[1], sys.argv[1:])
"""


@dataclass(frozen=True)
class Passed:
    """What a Service needs in order to get the descriptors."""

    fds: tuple[int, ...]
    variables: dict[str, str]

    @property
    def launcher(self) -> tuple[str, ...]:
        """The command that starts it."""
        return (sys.executable, "-c", AS_SYSTEMD.format(fds=self.fds))


@contextlib.contextmanager
def passed(named: Sequence[tuple[str, int]]) -> Iterator[Passed]:
    """Descriptors with their names (FDNAME=), while the Service is started."""
    # Away from the numbers that they are laid over.
    high = [os.dup(fd) for _, fd in named]
    spare: list[int] = []
    while high and min(high) < FIRST + len(named):
        spare += high
        high = [os.dup(fd) for _, fd in named]
    names = ":".join(name for name, _ in named)
    try:
        yield Passed(tuple(high), {"LISTEN_FDS": str(len(named)), "LISTEN_FDNAMES": names})
    finally:
        for fd in (*high, *spare):
            os.close(fd)
