"""When response times have settled, and what the operator is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.probes.warm_requests import Flatness, Tally, paths

if TYPE_CHECKING:
    from pathlib import Path


def rounds(*seconds: float) -> int | None:
    """After how many rounds with these slowest responses it is flat."""
    flatness = Flatness()
    found = (number for number, one in enumerate(seconds, 1) if flatness.add({"/": one}))
    return next(found, None)


@pytest.mark.parametrize(
    ("seconds", "wanted"),
    [
        # Warm from the beginning: three rounds are the fewest.
        ((0.1, 0.1), None),
        ((0.1, 0.1, 0.1), 3),
        # The first use takes long, in one worker or in another.
        ((5.0, 0.1, 0.1, 0.1), 4),
        ((5.0, 0.1, 5.0, 0.1, 0.1, 0.1), 6),
        # Within 1.2 times of the best.
        ((1.0, 1.2, 1.2), 3),
        ((1.0, 1.21, 1.0, 1.0), None),
        ((1.0, 1.21, 1.0, 1.0, 1.0), 5),
        # Slowly faster: each is flat beside the one before, but not beside the best.
        ((1.0, 0.9, 0.8, 0.7, 0.6, 0.5), None),
        # A busy machine: 50 ms are 1 % of the first.
        ((5.0, 0.04, 0.09, 0.08), 4),
        ((5.0, 0.04, 0.1, 0.04), None),
        # Noise of 10 ms is none of its business.
        ((0.001, 0.011, 0.001), 3),
        ((0.001, 0.012, 0.001), None),
    ],
)
def test_flat(seconds: tuple[float, ...], wanted: int | None) -> None:
    assert rounds(*seconds) == wanted


def test_each_url_has_to_be_flat() -> None:
    flatness = Flatness()
    assert not flatness.add({"/a": 0.1, "/b": 5.0})
    assert not flatness.add({"/a": 0.1, "/b": 1.0})
    assert not flatness.add({"/a": 0.1, "/b": 1.0})
    assert flatness.add({"/a": 0.1, "/b": 1.0})


def test_what_the_operator_is_told() -> None:
    tally = Tally()
    tally.add([("/a", 1.234, ""), ("/b", 0.5, "")])
    assert str(tally) == "2 requests, 1.2 s -> 1.2 s"
    tally.add([("/a", 0.0151, ""), ("/b", 0.002, "status 500")])
    assert str(tally) == "4 requests, 1.2 s -> 15 ms (1 failed: status 500 for /b)"


def test_paths(tmp_path: Path) -> None:
    file = tmp_path / "paths"
    file.write_text("# comment\n/one\n\n  /two?a=b  \nnothing\n")
    assert paths(str(file)) == ["/one", "/two?a=b"]
    file.write_text("# comment\n")
    with pytest.raises(ValueError, match="has no line with a path"):
        paths(str(file))
