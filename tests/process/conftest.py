"""Fixtures for tests with supervisors of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def program(folder: Path) -> Program:
    """A program whose releases a test publishes."""
    return Program(folder)
