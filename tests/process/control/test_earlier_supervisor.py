"""Answers of an earlier supervisor, with nothing but the members that must be there.

The commands index what is described: `answers` has to fill whatever may be missing.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from sockact.cli.calls import progress
from sockact.supervisor.control import answers
from tests.process.control.test_control_cli import Running, sockact_on
from tests.support.exporter import Exporter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOTHING: dict[str, object] = {"object": {}, "list": [], "text": "app"}


def least(method: str, given: dict[str, Any]) -> dict[str, Any]:
    """This answer, and what else it must have to be one."""
    while True:
        try:
            answers.result(method, given)
        except answers.Unfit as unfit:
            where, _, why = str(unfit).partition(" ")
            wanted = next((word for word in NOTHING if word in why.split()), "")
            _put(given, where.split("."), NOTHING.get(wanted, 0))
        else:
            return given


def _put(place: Any, steps: list[str], value: object) -> None:
    if isinstance(place, list):
        for one in place:
            _put(one, steps, value)
    elif len(steps) == 1:
        place[steps[0]] = value
    else:
        _put(place[steps[0]], steps[1:], value)


STATUS = least(
    "Status",
    {
        "status": {
            "name": "app",
            "generations": [{"state": state} for state in ("pending", "running", "draining")],
            "listeners": [{}],
            "logs": [{"error": "full"}],
            "watch": {},
            "handover": {"outcome": "committed"},
            "starts": {"failures": [{}]},
        }
    },
)["status"]
HISTORY = least(
    "History",
    {
        "handovers": [{"outcome": "committed", "phases": [{"name": "drain"}]}],
        "totals": {"drains": {"counts": [0]}, "handovers": [{"seconds": {"counts": [0]}}]},
    },
)
HANDOVER = least("Reload", {"handover": {"outcome": "committed"}})["handover"]


@pytest.fixture
def app(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    app = Running(folder, "app")
    monkeypatch.setattr(app.service, "status", lambda: STATUS)
    monkeypatch.setattr(app.service, "history", lambda: HISTORY)
    app.service.at_once = (HANDOVER, True)
    yield app
    app.close()


def test_little_is_needed() -> None:
    assert set(STATUS["generations"][0]) == {
        *("number", "state", "pid", "started_usec", "age_seconds")
    }
    assert set(HANDOVER) == {"id", "outcome", "to", "requested_usec", "duration_seconds"}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("list", "app   "),
        ("status app", "  0           draining"),
        ("history app", "to 0"),
        ("reload app", "app: generation 0 is serving (ready in 0.00 s)"),
        ("reload --wait-drained app", "app: generation 0 is serving (ready in 0.00 s)"),
        ("rollback app", "app: abandoned generation 0"),
    ],
)
def test_the_commands_understand_it(app: Running, line: str, told: str) -> None:
    code, stdout, stderr = sockact_on(app, *line.split())
    assert (code, stderr) == (0, "")
    assert told in stdout


def test_a_failure(app: Running) -> None:
    app.service.at_once = ({**HANDOVER, "outcome": "failed"}, False)
    code, _, stderr = sockact_on(app, "reload", "app")
    assert (code, stderr.splitlines()[0]) == (
        1,
        "sockact: app: generation 0 failed: no reason given",
    )


def test_json_has_the_missing_members(app: Running) -> None:
    code, stdout, _ = sockact_on(app, "list", "--json")
    (found,) = json.loads(stdout)
    assert (code, found["version"], found["handover"]["rollback"]) == (0, "", False)


def test_the_progress() -> None:
    status = answers.result("Status", {"status": STATUS})["status"]
    assert progress.describe("Reload", status) == (
        "generation 0 is starting; generation 0 is draining"
    )


def test_the_exporter(app: Running) -> None:
    with Exporter(app.directory.parent) as exporter:
        page = app.meanwhile(exporter.page)
    assert 'sockact_up{service="app"} 1.0' in page, exporter.errors.read_text()
    assert 'sockact_generation_info{gate="",generation="0",service="app",state="pending"' in page
