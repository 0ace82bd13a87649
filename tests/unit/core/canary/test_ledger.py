"""What the ledger keeps of a canary: how long it took, and how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.model import Exit
from sockact.core.record import replace
from tests.unit.core.states import PLAN
from tests.unit.core.story import POLICY
from tests.unit.core.test_ledger import phases, serving

if TYPE_CHECKING:
    from sockact.core.lifecycle.events import Event


@pytest.mark.parametrize(
    ("end", "promoted", "refused"),
    [
        (on.Promote(), 1, 0),
        (on.Exited(1, Exit(code=1)), 1, 0),
        (on.Exited(2, Exit(code=1)), 0, 1),
        (on.Rollback(), 0, 0),
        (on.Stop(), 0, 0),
    ],
    ids=lambda value: type(value).__name__,
)
def test_how_it_ended(end: Event, promoted: int, refused: int) -> None:
    told = serving(replace(POLICY, trial=3.0, private_trial=True, plan=PLAN))
    told.hear(on.Reload())
    told.launch(2)
    told.hear(on.Tick(), 3.0)
    told.hear(on.Share(500), 2.0)
    told.hear(end, 5.0)
    totals = told.totals()
    assert (totals.promoted, totals.refused, totals.taken_back) == (promoted, refused, 0)
    (entry,) = told.entries()
    assert phases(entry)[:3] == [("start", POLICY.settle), ("trial", 3.0), ("canary", 7.0)]
