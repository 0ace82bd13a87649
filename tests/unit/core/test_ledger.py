"""The ledger of handovers: phases, totals, and what is stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from sockact.core.history.failures import Window
from sockact.core.history.ledger import BOUNDS, MOST, Account, LedgerEntry, Span, Times, Totals
from sockact.core.lanes.unaccepted import Unaccepted
from sockact.core.lifecycle import events as on
from sockact.core.lifecycle.model import Exit, Gate, Policy
from sockact.core.record import replace
from sockact.supervisor.records.carried_state import CarriedHistory
from sockact.supervisor.records.history import History
from sockact.supervisor.records.ledger import Ledger
from tests.unit.core.story import POLICY, Story

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from sockact.core.lifecycle.actions import Action
    from sockact.core.lifecycle.events import Event

WINDOW = Window(600.0, 10)


class Told(Story):
    """A sequence of events that a ledger follows."""

    def __init__(self, policy: Policy = POLICY, account: Account | None = None) -> None:
        super().__init__(policy)
        self.saves = 0
        self.ledger = Ledger(account or Account(), self._saved, lambda: 1_000_000.0)

    def _saved(self) -> None:
        self.saves += 1

    def hear(self, event: Event, after: float = 0.0) -> tuple[Action, ...]:
        asked = super().hear(event, after)
        self.ledger.stepped(self.state, asked, self.now)
        return asked

    def entries(self) -> list[dict[str, Any]]:
        found = self.ledger.status()["handovers"]
        assert isinstance(found, list)
        return found

    def totals(self) -> Totals:
        return self.ledger.account.totals

    def reload(self, seconds: float = 1.0) -> None:
        """A successor becomes ready, its predecessor drains and ends, 1 s for each."""
        old, new = self.state.last_number, self.state.last_number + 1
        self.hear(on.Reload())
        self.hear(on.Interest(new), seconds)
        self.hear(on.Tick(), self.state.policy.settle)
        self.hear(on.GateMoved(old, Gate.CLOSED))
        self.end(old)

    def end(self, number: int) -> None:
        self.hear(on.Census(number, 0, 0, 0, settled=True), 1.0)
        self.hear(on.Exited(number, Exit()), 1.0)
        self.hear(on.Gone(number))


def serving(policy: Policy = POLICY) -> Told:
    told = Told(policy)
    told.serving()
    return told


def phases(entry: dict[str, Any]) -> list[tuple[str, float]]:
    return [(one["name"], round(one["seconds"], 3)) for one in entry["phases"]]


def test_the_phases_of_a_reload() -> None:
    told = serving()
    told.ledger.asked(told.state, "SIGHUP")
    told.reload()
    (entry,) = told.entries()
    settle = POLICY.settle
    assert phases(entry) == [("start", 1 + settle), ("drain", 1.0), ("stop", 1.0)]
    assert (entry["cause"], entry["kind"], entry["outcome"]) == ("SIGHUP", "reload", "committed")
    assert (entry["from"], entry["to"], entry["phase"]) == (1, 2, "")
    assert entry["duration_seconds"] == pytest.approx(1 + settle)
    assert entry["requested_usec"] == 1_000_000_000_000
    assert len(entry["id"]) == 32
    assert int(entry["id"], 16)
    assert sum(told.totals().reloads_committed.counts) == 1
    assert told.totals().drains.sum == pytest.approx(2.0)
    assert told.saves == 2, "at the outcome and at the end of the drain"


def test_a_failed_reload() -> None:
    told = serving()
    told.hear(on.Reload())
    told.hear(on.Exited(2, Exit(3)), 1.0)
    (entry,) = told.entries()
    assert entry["outcome"] == "failed"
    assert "status 3" in entry["reason"]
    assert entry["phase"] == "stop"
    told.hear(on.Gone(2), 1.0)
    assert told.state.handover
    told.ledger.explained(replace(told.state.handover, reason="ImportError: no x"))
    (entry,) = told.entries()
    assert entry["reason"] == "ImportError: no x"
    assert phases(entry) == [("start", 1.0), ("stop", 1.0)]
    assert entry["phase"] == ""
    assert told.totals().drains == Times(), "nobody was replaced"
    assert sum(told.totals().reloads_failed.counts) == 1
    assert told.totals().taken_back == 0


def test_a_trial_that_is_taken_back() -> None:
    told = serving(replace(POLICY, trial=30.0))
    told.hear(on.Reload())
    told.hear(on.Interest(2))
    told.hear(on.Tick(), POLICY.settle)
    told.hear(on.GateMoved(1, Gate.CLOSED))
    told.hear(on.TrialFailed(2, "no good"), 5.0)
    assert told.totals().taken_back == 1
    (entry,) = told.entries()
    assert phases(entry) == [("start", POLICY.settle), ("trial", 5.0)]
    assert entry["phase"] == "drain"


def test_a_kept_predecessor_and_a_rollback() -> None:
    told = serving(replace(POLICY, keep_predecessor=60.0))
    told.hear(on.Reload())
    told.launch(2)
    told.hear(on.GateMoved(1, Gate.CLOSED))
    first = told.ledger.handover_id(1)
    assert first
    assert first == told.ledger.handover_id(2)
    assert told.entries()[0]["phase"] == "keep"
    told.ledger.asked(told.state, "command")
    told.hear(on.Rollback(), 7.0)
    told.hear(on.GateMoved(1, Gate.OPEN))
    told.hear(on.GateMoved(2, Gate.CLOSED))
    reload, rollback = told.entries()
    assert phases(reload)[-1] == ("keep", 7.0)
    assert (rollback["kind"], rollback["cause"]) == ("rollback", "command")
    assert (rollback["from"], rollback["to"]) == (2, 1)
    second = told.ledger.handover_id(2)
    assert second == rollback["id"] != first
    told.end(2)
    assert told.ledger.handover_id(2) == second, "what is said of its last step belongs to it"
    assert sum(told.totals().rollbacks_committed.counts) == 1
    assert sum(told.totals().drains.counts) == 1
    told.hear(on.Tick())
    assert [told.ledger.handover_id(number) for number in range(3)] == ["", "", ""]


def test_a_queued_reload_has_its_own_cause() -> None:
    told = serving()
    for cause in ("unit", "SIGHUP", "command"):
        told.ledger.asked(told.state, cause)
        told.hear(on.Reload())
    told.launch(2)
    assert [one["cause"] for one in told.entries()] == ["unit", "SIGHUP"]
    assert [one["outcome"] for one in told.entries()] == ["committed", "pending"]
    told.hear(on.Stop())
    assert [one["outcome"] for one in told.entries()] == ["committed", "failed"]


def test_restarts_after_crashes_are_no_handovers() -> None:
    told = serving()
    told.hear(on.Exited(1, Exit(1)))
    told.hear(on.Gone(1))
    assert told.totals().restarts == 1
    assert told.entries() == []
    told.launch(2)
    told.reload()
    assert told.totals().restarts == 1


def test_unaccepted_connections() -> None:
    told = Told()
    for count, moved in ((20, True), (3, False), (1, True)):
        told.ledger.unaccepted(Unaccepted(count, moved))
    assert told.ledger.unaccepted_so_far() == {"passed_on": 21, "reset": 3}
    assert told.saves == 3


def test_forced_closes() -> None:
    told = serving()
    told.hear(on.Reload())
    told.launch(2)
    told.hear(on.GateMoved(1, Gate.CLOSED))
    told.ledger.forced(1, 3)
    told.ledger.forced(1, 0)
    told.ledger.forced(7, 2)
    assert told.totals().forced == 5
    assert told.entries()[0]["forced_closes"] == 3


def test_it_is_bounded() -> None:
    told = serving()
    for _ in range(MOST + 5):
        told.reload()
    assert len(told.entries()) == MOST
    assert sum(told.totals().reloads_committed.counts) == MOST + 5
    assert len({one["id"] for one in told.entries()}) == MOST


def test_the_buckets_of_a_histogram() -> None:
    times = Times()
    for seconds in (0.0, BOUNDS[0], BOUNDS[0] + 0.001, BOUNDS[-1], BOUNDS[-1] + 1):
        times = times.plus(seconds)
    assert times.counts[:2] == (2, 1)
    assert times.counts[-2:] == (1, 1)
    assert times.sound


def history(folder: Path, carried: CarriedHistory | None = None) -> History:
    return History(str(folder), WINDOW, pytest.fail, carried=carried)


def test_the_largest_is_kept(tmp_path: Path) -> None:
    text = "\U0001f600" * 400
    entry = LedgerEntry(
        *("0" * 32, 1.0, text, False, 1, 2, "failed", text),
        spans=(Span("start", 1.0),) * 16,
        from_version=text[:200],
        to_version=text[:200],
        hooks_failed=(text,) * 8,
    )
    account = Account((entry,) * MOST, Totals(starts=7))
    history(tmp_path, CarriedHistory((), (), account)).failed(1, text)
    assert history(tmp_path).ledger.account == replace(
        account, totals=replace(account.totals, starts=8, failures=1)
    )


def saved(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "starts.json").read_text())
    return found


def test_it_survives_the_supervisor(tmp_path: Path) -> None:
    one = history(tmp_path)
    told = Told()
    told.ledger = one.ledger
    told.serving()
    told.reload()
    told.hear(on.Reload())
    told.launch(3)
    one.failed(9, "why")
    before = one.ledger.account.totals
    again = history(tmp_path)
    assert again.ledger.account.totals == replace(before, starts=2)
    assert [entry.outcome for entry in again.ledger.account.entries] == ["committed"] * 2
    assert not any(entry.number for entry in again.ledger.account.entries)
    assert again.ledger.handover_id(2) == "", "numbers of another supervisor"


def test_a_handover_whose_supervisor_was_killed(tmp_path: Path) -> None:
    one = history(tmp_path)
    told = Told()
    told.ledger = one.ledger
    told.serving()
    told.hear(on.Reload())
    one.failed(1, "something that is saved")
    (entry,) = history(tmp_path).ledger.account.entries
    assert entry.outcome == "lost"


def test_an_upgrade_goes_on_with_what_is_open(tmp_path: Path) -> None:
    one = history(tmp_path)
    told = Told()
    told.ledger = one.ledger
    told.serving()
    told.hear(on.Reload())
    told.launch(2)
    told.hear(on.GateMoved(1, Gate.CLOSED))
    again = history(tmp_path, one.carried())
    told.ledger = again.ledger
    told.end(1)
    assert [one["phase"] for one in told.entries()] == [""]
    assert again.ledger.account.totals.starts == 1, "an upgrade is no start"
    # A version that knew no ledger carries none, and has left what was in the file.
    older = history(tmp_path, CarriedHistory((), ()))
    assert older.ledger.account.totals == again.ledger.account.totals


@pytest.mark.parametrize(
    "change",
    [
        {"totals": {"forced": -1}},
        {"totals": {"reset": -1}},
        {"totals": {"drains": {"counts": [1], "sum": 0.0}}},
        {"totals": {"drains": {"counts": [0] * 14, "sum": float("nan")}}},
        {"totals": {"drains": {"counts": [-1] + [0] * 13, "sum": 0.0}}},
        {"totals": {"drains": {"counts": [], "sum": 0.0}}},
        {"totals": {"drains": {"counts": [0] * 14, "sum": 1e308}}},
        {"totals": {"drains": {"counts": [10**4000] + [0] * 13, "sum": 0.0}}},
        {"totals": {"starts": 10**4000}},
        {"totals": {"later": 1}},
        {"entries": [{"id": "x"}]},
        {"entries": 3},
        [],
        "x",
    ],
)
def test_an_unsound_file_is_ignored(tmp_path: Path, change: object) -> None:
    history(tmp_path)
    text = json.dumps({**saved(tmp_path), "ledger": change})
    (tmp_path / "starts.json").write_text(text)
    assert history(tmp_path).ledger.account.totals == Totals(starts=1)


@pytest.mark.parametrize(
    "change",
    [
        {"seconds": float("inf")},
        {"at": 1e308},
        {"at": -1.0},
        {"successor": 10**4000},
        {"forced": -1},
        {"spans": [{"phase": "start", "seconds": float("nan")}]},
        {"reason": "x" * 5000},
        {"outcome": "fine"},
        {"spans": [{"phase": "start", "seconds": 1.0}] * 100},
    ],
)
def test_an_unsound_entry_is_ignored(tmp_path: Path, change: dict[str, Any]) -> None:
    one = history(tmp_path)
    told = Told()
    told.ledger = one.ledger
    told.serving()
    told.reload()
    found = saved(tmp_path)
    found["ledger"]["entries"][0].update(change)
    (tmp_path / "starts.json").write_text(json.dumps(found))
    assert history(tmp_path).ledger.account.entries == ()


def test_moved_connections() -> None:
    told = Told()
    told.ledger.moved(1, 20, 2)
    told.ledger.moved(1, 1, 0)
    totals = told.ledger.account.totals
    assert (totals.moved, totals.returned) == (21, 2)
