"""Judges as text, what a query becomes, and what several answers amount to."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockact.core.canary.judges import LONGEST, NAMES, Command, Query, combine, filled, parse
from sockact.core.canary.verdict import NOT_COUNTED, Judgement, Verdict

GOOD = Judgement(Verdict.BETTER_OR_SAME, ("fine",))
BAD = Judgement(Verdict.WORSE, ("slow",))
LATE = Judgement(Verdict.PENDING, ("late",))
FEW = Judgement(Verdict.NOT_ENOUGH, ("few",))
SERVER = "http://localhost:9090"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("exec:/bin/check --now", Command("/bin/check --now")),
        (f"promql:{SERVER} up<1 < 1e-3", Query(SERVER, "up<1", "<", "1e-3")),
        (
            f'promql:{SERVER}/prom/ sum(a{{v={{version}},b="x y"}}[1m]) > 3 >= -2.5',
            Query(f"{SERVER}/prom", 'sum(a{v={version},b="x y"}[1m]) > 3', ">=", "-2.5"),
        ),
        ("promql:https://[::1] up  >  0", Query("https://[::1]", "up", ">", "0")),
    ],
)
def test_what_is_a_judge(text: str, found: Command | Query) -> None:
    assert parse(text) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not a judge; use 'promql:URL QUERY < LIMIT' or exec:COMMAND"),
        ("exec: ", "is not a judge"),
        ("promql", "is not a judge"),
        ("http://localhost", "is not a judge"),
        ("exec:" + "a" * LONGEST, f"longer than {LONGEST} characters"),
        ("exec:a\0b", "NUL character"),
        (f"promql:{SERVER}", "has no comparison"),
        (f"promql:{SERVER} up", "has no comparison"),
        (f"promql:{SERVER} < 1", "has no comparison"),
        (f"promql:{SERVER} up == 1", "with one of < > <= >= and a number"),
        (f"promql:{SERVER} up < many", "has no comparison"),
        (f"promql:{SERVER} up < nan", "has no comparison"),
        ("promql:ftp://localhost up < 1", "is not the URL of a server"),
        ("promql:http:///path up < 1", "is not the URL of a server"),
        (f"promql:{SERVER}/?query=up up < 1", "is not the URL of a server"),
        ("promql:http://a:b@localhost up < 1", "names a user, which is not sent"),
        (f'promql:{SERVER} up{{v="{{version}}"}} < 1', "write {version} without quotes"),
    ],
)
def test_what_is_none(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        parse(text)
    assert "\n" not in str(caught.value)


def test_names_in_a_query() -> None:
    values = {"generation": "2", "version": 'a"b\\{baseline}\n', "baseline": "1"}
    query = 'up{a={generation}, b={version}, c="{", d={other}} / {baseline'
    escaped = '"a\\"b\\\\{baseline}\\U0000000a"'
    assert filled(query, values) == f'up{{a="2", b={escaped}, c="{{", d={{other}}}} / {{baseline'


@given(st.text(max_size=20))
def test_a_value_stays_within_its_quotes(value: str) -> None:
    found = filled("{version}", dict.fromkeys(NAMES, value))
    inside = found[1:-1].replace("\\\\", "")
    assert found[0] == found[-1] == '"'
    assert '"' not in inside.replace('\\"', "")
    assert not inside.endswith("\\")
    assert found.isprintable()


@pytest.mark.parametrize(
    ("counted", "judges", "found"),
    [
        (GOOD, [], GOOD),
        (NOT_COUNTED, [], NOT_COUNTED),
        (NOT_COUNTED, [GOOD], GOOD),
        (NOT_COUNTED, [FEW], FEW),
        (NOT_COUNTED, [GOOD, FEW], FEW),
        (GOOD, [FEW], FEW),
        (FEW, [GOOD], FEW),
        (FEW, [GOOD, LATE], LATE),
        (BAD, [LATE], BAD),
        (GOOD, [FEW, BAD], BAD),
        (BAD, [GOOD], BAD),
        (BAD, [BAD], Judgement(Verdict.WORSE, ("slow", "slow"))),
        (GOOD, [GOOD], Judgement(Verdict.BETTER_OR_SAME, ("fine", "fine"))),
    ],
)
def test_several_answers(counted: Judgement, judges: list[Judgement], found: Judgement) -> None:
    assert combine(counted, judges) == found
