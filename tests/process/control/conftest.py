"""Fixtures for tests of the control socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.process.control.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bench(folder: Path) -> Iterator[Bench]:
    """A control socket, and the loop and the service behind it."""
    bench = Bench(folder)
    yield bench
    bench.close()
