"""The steps of a canary as text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.core.canary import schedule
from sockact.core.canary.schedule import Schedule, Step


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("1% 1min, 10% 5min, 50% 5min", [(10, 60.0), (100, 300.0), (500, 300.0)]),
        ("0.1% 90", [(1, 90.0)]),
        ("  5 %1min 30s,\t12.50% 500ms 1s ,100% 7d", [(50, 90), (125, 1.5), (1000, 604800)]),
    ],
)
def test_steps(text: str, steps: list[tuple[int, float]]) -> None:
    found = schedule.parse(text)
    assert found == Schedule(tuple(Step(*step) for step in steps))
    assert schedule.parse(schedule.write(found)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'' is not a step with a share and a time; write, for example, '10% 5min'"),
        ("10% 5min,", "'' is not a step"),
        ("10 5min", "'10 5min' is not a step"),
        ("% 5min", "'% 5min' is not a step"),
        ("10%", "the step '10%' has no time; write, for example, '10% 5min'"),
        ("10% 0", "the time of the step '10% 0' must be from 1 s to 7 days"),
        ("10% 999ms", "must be from 1 s"),
        ("10% 8d", "to 7 days"),
        ("10% soon", "'soon' is not a time span"),
        ("0% 5min", "the share 0% must be above 0% and at most 100%"),
        ("101% 5min", "the share 101% must be above 0% and at most 100%"),
        ("100.1% 5min", "at most 100%"),
        ("0.05% 5min", "'0.05%' is not a share; write a percentage with at most one decimal"),
        ("-1% 5min", "'-1%' is not a share"),
        ("1e1% 5min", "is not a share"),
        ("٣% 5min", "is not a share"),
        ("10% 1min, 5% 1min", "shares must rise: 5% follows 10%; put the smallest share first"),
        ("10% 1min, 10% 1min", "shares must rise: 10% follows 10%"),
        (", ".join(f"{n}% 1s" for n in range(1, 22)), "21 steps are too many; use at most 20"),
        ("1" * 501, "must not be longer than 500 characters"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        schedule.parse(text)
    assert "\n" not in str(caught.value)


def test_one_share() -> None:
    found = [schedule.parse_share(text) for text in ("25%", "25", " 0.5 % ", "100", "12.5%")]
    assert found == [250, 250, 5, 1000, 125]
    for text in ("", "%", "0", "100.5", "2,5", "25%%", "9" * 5000):
        with pytest.raises(ValueError, match="share"):
            schedule.parse_share(text)


STEPS = st.lists(st.integers(1, 1000), min_size=1, max_size=20, unique=True).flatmap(
    lambda shares: st.tuples(
        *(
            st.builds(Step, st.just(n), st.integers(1000, 604_800_000).map(lambda ms: ms / 1000))
            for n in sorted(shares)
        )
    )
)


@given(STEPS)
def test_every_schedule_is_read_as_it_was_written(steps: tuple[Step, ...]) -> None:
    text = schedule.write(Schedule(steps))
    assert len(text) <= schedule.LONGEST_TEXT
    assert schedule.parse(text) == Schedule(steps)
