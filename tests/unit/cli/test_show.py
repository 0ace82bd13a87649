"""A status as text: long lines are folded."""

from __future__ import annotations

from typing import Any

from sockact.cli.calls.show import COLUMNS, show

STATUS: dict[str, Any] = {
    "name": "app",
    "state": "serving",
    "pause": None,
    "pid": 1,
    "command": ["gunicorn", *["--an-option=value"] * 12, "/srv/" + "x" * 100, "app:app"],
    "adopt": "seccomp",
    "ready": "interest",
    "generations": [],
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


def test_a_pause() -> None:
    pause = {"active": True, "complete": True, "seconds_left": 12.3, "ended_usec": None}
    assert show({**STATUS, "pause": pause}).startswith(
        "app: paused (by the operator) for 12 s more"
    )
    closing = {**pause, "complete": False}
    assert show({**STATUS, "pause": closing}).startswith("app: about to pause (by the operator)")
    over = {"active": False, "ended_usec": 0, "duration_seconds": 30.0, "reason": "it was over"}
    assert "ago after 30 s: it was over" in show({**STATUS, "pause": over})
