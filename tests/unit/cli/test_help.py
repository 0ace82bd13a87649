"""What `--help` prints of each command."""

from __future__ import annotations

import pytest

from sockact.cli.manual import commands
from tests.support.manual import description, help_of

# Commands whose help has no example yet.
ELSEWHERE = (
    *("reload", "rollback", "status", "history", "rotate", "reset", "stop", "upgrade"),
    *("wrap", "unwrap", "check"),
)
READY = [name for name in commands.names() if name not in ELSEWHERE]


@pytest.mark.parametrize("name", READY)
def test_it_fits_the_terminal(name: str) -> None:
    assert [line for line in help_of(name, width=80).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", READY)
def test_it_has_an_example(name: str) -> None:
    assert "\n  Example" in help_of(name, width=80)
    assert description(help_of(name))[-1].startswith(f"sockact {name} ")
