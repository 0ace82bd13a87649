"""What a program passes to bind() cannot break the supervisor."""

from __future__ import annotations

import contextlib
import errno
from typing import TYPE_CHECKING

import pytest

from sockact.core.matching import Address, Family, Kind
from sockact.handover.adoption import call_arguments

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def last(tmp_path: Path) -> Path:
    """The last of a thousand links, each to the one before."""
    found = tmp_path
    for number in range(1500):
        link = tmp_path / str(number)
        link.symlink_to(found)
        found = link
    return found


def test_a_path_of_a_thousand_links(last: Path) -> None:
    """The kernel follows 40 of them."""
    with pytest.raises(OSError, match="symbolic links") as caught:
        call_arguments.canonical(Address(Family.UNIX, Kind.STREAM, f"{last}/socket"))
    assert caught.value.errno == errno.ELOOP


def test_a_path_of_a_thousand_links_that_is_too_long(last: Path) -> None:
    """stat(2) does not look at any of them."""
    with contextlib.suppress(OSError):  # Python 3.13 resolves them all.
        path = f"{last}{'/.' * 3000}/socket"
        call_arguments.canonical(Address(Family.UNIX, Kind.STREAM, path))
