"""System calls that a container refuses: found at the start, with one line, and worked around."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import refuse
from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService


def test_without_pidfd_open(start: StartService, folder: Path) -> None:
    """Signals go by pid, and Python programs have the shim."""
    program = Program(folder)
    service = start(program.command, listen=program.listen, launcher=refuse.launcher("pidfd_open"))
    assert "pidfd_open is refused (Operation not permitted)" in service.stderr
    program.publish("2")
    done = service.reload("--wait-drained")
    assert done.code == 0, done.stderr
    assert program.ask() == "2"
    assert service.stop() == 0
    assert "internal error" not in service.stderr


def test_without_getxattr(start: StartService, folder: Path) -> None:
    """The protocol of a socket cannot be read, so the shim adopts."""
    program = Program(folder)
    service = start(program.command, listen=program.listen, launcher=refuse.launcher("getxattr"))
    assert "using --adopt shim" in service.stderr
    assert "allow getxattr(2)" in service.stderr
    program.publish("2")
    assert service.reload().code == 0
    assert program.ask() == "2"
