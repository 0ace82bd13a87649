"""The picture of a canary: what is counted for it, and that any page can show it."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from bench import picture
from sockact.core.canary import schedule
from tests import ROOT

COMMITTED = (ROOT / "docs" / "canary.svg").read_text()


def drawn() -> str:
    seen = [(at / 10, "2" if at > 0 and at % 4 == 0 else "1") for at in range(-20, 181)]
    return picture.draw([picture.course("one", [*seen, (3.05, "")])])


def test_the_answers_of_each_second() -> None:
    seen = [(-1.5, "1"), (0.1, "1"), (0.2, "2"), (0.3, "2"), (0.9, "2"), (1.5, ""), (2.0, "2")]
    found = picture.course("a title", seen)
    assert found.shares == [0.0, 0.0, 0.75, 0.0]
    assert (found.answers, found.failures) == (7, 1)


@pytest.mark.parametrize("text", [COMMITTED, drawn()], ids=["committed", "drawn"])
def test_it_is_small_and_complete_by_itself(text: str) -> None:
    assert len(text) < 10_000
    root = ElementTree.fromstring(text)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    tags = {one.tag.partition("}")[2] for one in root.iter()}
    assert tags == {"svg", "title", "text", "rect", "polygon", "path"}
    words = {one.text for one in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"0 %", "100 %", *picture.LEGEND} <= words


def test_it_is_readable_on_white_and_on_black() -> None:
    """A contrast of 3 is what WCAG 2 asks for of large text and of graphics."""
    assert set(re.findall(r"#[0-9a-f]{3,6}", COMMITTED)) == {
        *(picture.TEXT, picture.OLD, picture.NEW, "#fff")
    }
    for colour in (picture.TEXT, picture.OLD, picture.NEW):
        light = _luminance(colour) + 0.05
        assert 1.05 / light >= 3, colour
        assert light / 0.05 >= 3, colour


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts
    ]
    return sum(part * weight for part, weight in zip(linear, (0.2126, 0.7152, 0.0722), strict=True))


def test_the_steps_are_those_of_the_page() -> None:
    page = (ROOT / "docs" / "canary.md").read_text()
    assert f"`{picture.STEPS}`" in page
    assert "](canary.svg)" in page
    assert picture.STEPS in COMMITTED
    assert picture.DIES_IN <= len(schedule.parse(picture.STEPS).steps)
