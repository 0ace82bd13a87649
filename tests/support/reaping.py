"""Reaps the children of a test that has a loop of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sockact.supervisor.processes.processes import exit_of

if TYPE_CHECKING:
    from sockact.supervisor.base.loop import Loop


def reap(loop: Loop, _signal: int) -> None:
    """Tell the loop of each child that has ended; for SIGCHLD."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        loop.child_ended(pid, exit_of(status))
