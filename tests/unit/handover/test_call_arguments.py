"""What a program passes to bind() cannot break the supervisor."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from sockact.core.matching import Address, Family, Kind
from sockact.handover.adoption import call_arguments

if TYPE_CHECKING:
    from pathlib import Path


def test_a_path_of_a_thousand_links(tmp_path: Path) -> None:
    """The kernel follows 40 of them."""
    last = tmp_path
    for number in range(1500):
        link = tmp_path / str(number)
        link.symlink_to(last)
        last = link
    with pytest.raises(OSError, match="symbolic links") as caught:
        call_arguments.canonical(Address(Family.UNIX, Kind.STREAM, f"{last}/socket"))
    assert caught.value.errno == errno.ELOOP
