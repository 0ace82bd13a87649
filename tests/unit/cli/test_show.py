"""A status as text: long lines are folded."""

from __future__ import annotations

from typing import Any

from sockact.cli.calls.show import COLUMNS, canary, show

STATUS: dict[str, Any] = {
    "name": "app",
    "state": "serving",
    "pause": None,
    "pid": 1,
    "command": ["gunicorn", *["--an-option=value"] * 12, "/srv/" + "x" * 100, "app:app"],
    "adopt": "seccomp",
    "ready": "interest",
    "generations": [],
    "canary": None,
    "listeners": [],
    "starts": {"failures": []},
    "logs": [],
    "watch": None,
    "handover": {
        "from": 1,
        "to": 2,
        "outcome": "failed",
        "duration_seconds": 1.0,
        "requested_usec": 0,
        "reason": "the program exited with status 3 before it was ready: " + "no database " * 20,
    },
}


def test_it_fits_a_terminal() -> None:
    lines = show(STATUS).splitlines()
    assert [line for line in lines if len(line) > COLUMNS] == ["      /srv/" + "x" * 100]
    assert "      --an-option=value" in " ".join(lines)
    told = " ".join(line.strip() for line in lines)
    assert STATUS["handover"]["reason"].strip() in told
    assert " ".join(STATUS["command"]) in told


def test_connections_that_nobody_accepted() -> None:
    line = "  connections that a generation had not accepted: 20 passed on, 1 reset"
    assert line in show({**STATUS, "unaccepted": {"passed_on": 20, "reset": 1}}).splitlines()
    assert "not accepted" not in show({**STATUS, "unaccepted": {"passed_on": 0, "reset": 0}})


def test_a_canary() -> None:
    found = {"share": 5, "step": 2, "steps": 3, "held": False, "seconds_left": 61.0}
    text = "canary: 0.5 % of new clients, step 2 of 3"
    assert canary(found) == f"{text}, up to 1 min 1 s left"
    assert canary({**found, "seconds_left": None}) == text
    held = {**found, "share": 250, "held": True}
    assert canary(held) == "canary: 25 % of new clients, until it is promoted or rolled back"


def test_the_verdict_on_a_canary() -> None:
    found = {
        **{"generation": 2, "share": 25, "by": "client", "step": 1, "steps": 3},
        **{"seconds_left": 90.0, "held": False, "verdict": "not-enough", "reasons": ["few", "x"]},
    }
    lines = show({**STATUS, "canary": found}).splitlines()
    assert "  verdict on the canary: not enough: few; x" in lines


def test_a_pause() -> None:
    pause = {"active": True, "complete": True, "seconds_left": 12.3, "ended_usec": None}
    assert show({**STATUS, "pause": pause}).startswith(
        "app: paused (by the operator), up to 12 s left"
    )
    closing = {**pause, "complete": False}
    assert show({**STATUS, "pause": closing}).startswith("app: about to pause (by the operator)")
    over = {"active": False, "ended_usec": 0, "duration_seconds": 30.0, "reason": "it was over"}
    assert "ago after 30 s: it was over" in show({**STATUS, "pause": over})
