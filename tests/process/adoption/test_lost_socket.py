"""A control socket that somebody has removed: the service serves, and nobody can talk to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


@pytest.mark.parametrize("command", ["status", "reload", "stop"])
def test_it_runs_all_the_same(start: StartService, program: Program, command: str) -> None:
    service = start(program.command, listen=program.listen)
    service.control.unlink()
    outcome = service.run(command, service.name)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == (
        f"sockact: test: its supervisor runs, but its control socket in {service.runtime / 'test'} "
        "is gone: `systemctl restart test` makes it again\n"
    )
    assert program.ask() == "1"
