"""Clients of the control socket leave the descriptors that a reload needs."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from tests.support.program import connect

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.support.program import Program

FEW = ("prlimit", "--nofile=70:70")


def test_a_reload_beside_many_clients(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, launcher=FEW)
    program.publish("2")
    with ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connect(str(service.control)))
        done = service.reload()
        assert done.code == 0, done.stderr + service.stderr
    assert program.ask() == "2"
