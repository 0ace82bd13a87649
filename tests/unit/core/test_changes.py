"""When changes on disk reload a service."""

from __future__ import annotations

import fnmatch
import re

from hypothesis import given
from hypothesis import strategies as st

from sockact.core.changes import (
    IGNORED,
    LONGEST,
    MOST_IN_A_ROW,
    Burst,
    Streak,
    What,
    is_ignored,
)
from tests import ROOT

TEXT = st.text("ab*", max_size=6)


@given(name=st.text("ab", max_size=6), pattern=TEXT)
def test_a_pattern_is_one_of_the_shell(name: str, pattern: str) -> None:
    assert is_ignored(name, [pattern]) == fnmatch.fnmatchcase(name, pattern)


def test_the_usual_names_are_those_of_the_page() -> None:
    page = ROOT.joinpath("docs", "watch.md").read_text()
    (said,) = re.findall(r"\*Ignored\*[^:]*: (.*?)\.\s", page, re.DOTALL)
    assert tuple(re.findall(r"`([^`]+)`", said)) == IGNORED
    assert not is_ignored("..data", IGNORED)  # Kubernetes switches that one.
    assert is_ignored("conf~", IGNORED)


def test_a_reload_waits_until_nothing_has_changed() -> None:
    burst = Burst()
    assert not burst
    burst.add("/srv/a", 10.0)
    assert burst
    assert burst.due(0.5, missing=False) == 10.5
    burst.add("/srv/b", 10.4)
    assert burst.due(0.5, missing=False) == 10.9
    burst.add("/srv/b", 14.9)
    assert burst.due(0.5, missing=False) == 10.0 + LONGEST
    assert burst.describe("/srv") == "2 files changed (a, b)"
    assert burst.describe("/s") == "2 files changed (/srv/a, /srv/b)"


def test_a_file_being_written_is_waited_for() -> None:
    burst = Burst()
    burst.add("/a", 10.0, What.BEGUN)
    assert burst.due(0.5, missing=False) == 10.0 + LONGEST
    burst.add("/a", 11.0)
    assert burst.due(0.5, missing=False) == 11.5
    assert burst.due(0.5, missing=True) == 10.0 + LONGEST
    assert burst.due(60.0, missing=False) == 70.0
    assert burst.describe() == "1 file changed (a)"


def test_a_file_that_came_and_went_is_no_change() -> None:
    burst = Burst()
    burst.add("/sedXYZ", 10.0, What.BEGUN)
    burst.add("/sedXYZ", 10.1)
    burst.add("/sedXYZ", 10.1, What.GONE)
    assert not burst
    burst.add("/a", 11.0, What.GONE)
    burst.add("/a", 11.1, What.BEGUN)
    burst.add("/b", 11.2, What.BEGUN)
    assert burst.due(0.5, missing=False) == 11.0 + LONGEST
    for path in ("/a", "/b"):
        burst.add(path, 11.3, What.GONE)
    # One of them was there before.
    assert burst.describe() == "1 file changed (a)"
    assert burst.due(0.5, missing=False) == 11.8


def test_the_number_of_remembered_changes_is_bounded() -> None:
    burst = Burst()
    for number in range(5000):
        burst.add(f"/{number}", 1.0)
    assert burst.describe() == "1000+ files changed (0, 1, 2, …)"


def test_reloads_in_a_row_are_limited() -> None:
    streak = Streak()
    now = 0.0
    for _ in range(MOST_IN_A_ROW):
        assert streak.changed(now, 5.0)
        assert streak.may_begin(now, 5.0)
        streak.over(now + 1.0)
        now += 5.9
    assert streak.changed(now, 5.0)
    assert not streak.may_begin(now, 5.0)
    assert streak.stopped
    assert not streak.changed(now, 5.0)
    assert not streak.changed(now + 4.9, 5.0)
    # A pause.
    assert streak.changed(now + 10.0, 5.0)
    assert streak.may_begin(now + 10.0, 5.0)


def test_a_pause_between_two_reloads_is_enough() -> None:
    streak = Streak()
    for number in range(3 * MOST_IN_A_ROW):
        now = 10.0 * number
        assert streak.changed(now, 5.0)
        assert streak.may_begin(now, 5.0)
        streak.over(now + 1.0)


def test_a_reload_by_hand_resets_the_row() -> None:
    streak = Streak()
    for _ in range(MOST_IN_A_ROW + 1):
        streak.may_begin(0.0, 5.0)
    assert streak.stopped
    streak.reset()
    assert streak.changed(0.0, 5.0)
