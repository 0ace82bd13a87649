"""A control socket that was removed: the service serves, but nobody can call it."""

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
def test_the_service_runs_all_the_same(start: StartService, program: Program, command: str) -> None:
    service = start(program.command, listen=program.listen)
    service.control.unlink()
    outcome = service.run(command, service.name)
    assert (outcome.code, outcome.stdout) == (1, "")
    assert outcome.stderr == (
        "sockact: test: the supervisor is running, but its control socket in "
        f"{service.runtime / 'test'} is missing; run `systemctl restart test` to recreate it\n"
    )
    assert program.ask() == "1"
