"""A canary under way: steps, verdicts and commands, and what follows."""

from __future__ import annotations

import json

import pytest

from sockact.core.canary import progress as canary
from sockact.core.canary.progress import (
    Order,
    Plan,
    Progress,
    Promote,
    Refuse,
    Steer,
    Wait,
)
from sockact.core.canary.schedule import parse
from sockact.core.canary.verdict import NOT_COUNTED, Judgement, Unsure, Verdict
from sockact.core.json_data import Reader, plain

GOOD = Judgement(Verdict.BETTER_OR_SAME, ("fine",))
BAD = Judgement(Verdict.WORSE, ("5 % failed", "slow"))
FEW = Judgement(Verdict.NOT_ENOUGH, ("3 of 30 requests",))
REFUSED = Refuse("canary refused: worse than the previous generation: 5 % failed; slow")


class Story:
    """A canary and its clock; `order` is the last order."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.now = 1000.0
        self.progress, self.order = canary.begin(plan, self.now)

    def look(self, judgement: Judgement, later: float = 0.0) -> Order:
        self.now += later
        return self.keep(canary.advance(self.plan, self.progress, judgement, self.now))

    def promote(self) -> Order:
        return self.keep(canary.promote(self.progress))

    def share(self, share: int) -> Order:
        return self.keep(canary.set_share(self.progress, share, self.now))

    def keep(self, found: tuple[Progress, Order]) -> Order:
        self.progress, order = found
        return order


def story(text: str = "1% 1min, 10% 5min", unsure: Unsure = Unsure.WAIT) -> Story:
    return Story(Plan(parse(text), unsure, timeout=100.0))


def test_step_by_step_to_the_end() -> None:
    one = story()
    assert one.order == Steer(10)
    assert one.look(GOOD, 59.9) == Wait(1060.0)
    assert one.look(GOOD, 0.1) == Steer(100)
    assert one.look(FEW, 299.0) == Wait(1360.0)
    assert one.look(GOOD, 1.0) == Promote("fine")
    assert one.look(BAD, 1.0) == Wait(None)


def test_a_worse_canary_is_refused_at_once() -> None:
    one = story()
    assert one.look(BAD, 1.0) == REFUSED
    assert one.progress.ended
    for order in (one.promote(), one.share(5), one.look(BAD)):
        assert order == Wait(None)


def test_also_while_its_share_is_held() -> None:
    one = story()
    assert one.share(50) == Steer(50)
    assert one.look(GOOD, 1e6) == Wait(None)
    assert one.look(BAD) == REFUSED


def test_steps_end_by_their_time_where_nothing_is_counted() -> None:
    one = story()
    assert one.look(NOT_COUNTED, 59.0) == Wait(1060.0)
    assert one.look(NOT_COUNTED, 1.0) == Steer(100)
    assert one.look(NOT_COUNTED, 300.0) == Promote(str(NOT_COUNTED))


def test_not_enough_waits_and_goes_on_when_there_is_enough() -> None:
    one = story()
    assert one.look(FEW, 60.0) == Wait(1160.0)
    assert one.look(FEW, 99.0) == Wait(1160.0)
    assert one.look(GOOD, 0.5) == Steer(100)


def test_not_enough_waits_no_longer_than_the_timeout() -> None:
    one = story()
    assert one.look(FEW, 160.0) == Refuse("canary refused: not enough seen at 1%: 3 of 30 requests")


def test_not_enough_may_go_on() -> None:
    one = story(unsure=Unsure.PROMOTE)
    assert one.look(FEW, 60.0) == Steer(100)
    assert one.look(FEW, 300.0) == Promote("3 of 30 requests")


def test_not_enough_may_be_refused() -> None:
    one = story(unsure=Unsure.ROLLBACK)
    assert one.look(FEW, 59.0) == Wait(1060.0)
    assert isinstance(one.look(FEW, 1.0), Refuse)


@pytest.mark.parametrize("unsure", Unsure)
def test_an_answer_on_its_way_is_waited_for(unsure: Unsure) -> None:
    one = story(unsure=unsure)
    late = Judgement(Verdict.PENDING, ("late",))
    assert one.look(late, 60.0) == Wait(1160.0)
    assert one.look(GOOD, 1.0) == Steer(100)
    assert one.look(late, 400.0) == Refuse("canary refused: not enough seen at 10%: late")


def test_a_canary_with_all_clients_has_nothing_beside_it() -> None:
    one = story("100% 1min")
    assert one.look(FEW, 60.0) == Promote("3 of 30 requests")


def test_a_promotion_ends_it() -> None:
    one = story()
    one.share(50)
    assert one.promote() == Promote("promoted by hand")
    assert one.promote() == Wait(None)


def test_progress_is_carried_as_json() -> None:
    one = story()
    one.look(GOOD, 60.0)
    one.share(250)
    data = json.loads(json.dumps(plain(one.progress)))
    assert Reader(Progress).read(Progress, data) == one.progress


def test_since_when_it_waits() -> None:
    story = Story(Plan(parse("1% 10s, 50% 10s"), timeout=60.0))
    began = story.now

    def waiting() -> float | None:
        return canary.waiting_since(story.plan, story.progress, story.now)

    story.look(FEW, 9.0)
    assert waiting() is None
    story.look(FEW, 11.0)
    assert waiting() == began + 10.0
    story.progress, _ = canary.set_share(story.progress, 250, story.now)
    assert waiting() == story.now
