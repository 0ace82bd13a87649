"""What `--help` prints of each command."""

from __future__ import annotations

import pytest

from sockact.cli.manual import commands
from tests.support.manual import description, help_of


@pytest.mark.parametrize("name", commands.names())
def test_it_fits_the_terminal(name: str) -> None:
    assert [line for line in help_of(name, width=80).splitlines() if len(line) > 80] == []


@pytest.mark.parametrize("name", commands.names())
def test_it_has_an_example(name: str) -> None:
    assert "\n  Example" in help_of(name, width=80)
    assert description(help_of(name))[-1].startswith(f"sockact {name}")
