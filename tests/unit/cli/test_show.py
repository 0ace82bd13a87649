"""A status as text: long lines are folded."""

from __future__ import annotations

from typing import Any

from sockact.cli.calls.show import COLUMNS, show

STATUS: dict[str, Any] = {
    "name": "app",
    "state": "serving",
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


def test_a_canary_and_its_verdict() -> None:
    canary = {
        **{"generation": 2, "share": 25, "by": "client", "step": 1, "steps": 3},
        **{"seconds_left": 90.0, "held": False, "verdict": "not-enough", "reasons": ["few", "x"]},
    }
    lines = show({**STATUS, "canary": canary}).splitlines()
    at = lines.index("    not enough: few; x")
    assert " ".join(line.strip() for line in lines[at - 2 : at]) == (
        "canary: generation 2, 2.5 % of new clients by client, step 1 of 3, up to 1 min 30 s left"
    )
    canary["held"] = True
    told = " ".join(show({**STATUS, "canary": canary}).split())
    assert "held until promoted or rolled back" in told
