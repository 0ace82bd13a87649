"""What is said of a service that does not run, by what systemd knows of its units."""

from __future__ import annotations

import pytest

from sockact.units.unit_facts import explain


@pytest.mark.parametrize(
    ("service", "socket", "told"),
    [
        (
            "ActiveState=activating SubState=auto-restart NRestarts=7 ExecMainStatus=3",
            "ActiveState=active",
            "app.service keeps failing (restarts: 7, last exit status: 3); see …",
        ),
        (
            "ActiveState=failed SubState=failed Result=start-limit-hit",
            "",
            "app.service has failed (result: start-limit-hit); see …, then `systemctl start app`",
        ),
        (
            "ActiveState=activating SubState=start",
            "",
            "app.service is starting, but its supervisor does not answer yet; see …",
        ),
        (
            "ActiveState=inactive SubState=dead",
            "ActiveState=active SubState=listening",
            "app.socket starts it for its first client, or `systemctl start app` does",
        ),
        (
            "ActiveState=inactive SubState=dead",
            "ActiveState=inactive",
            "app.service is stopped; start it with `systemctl start app`",
        ),
    ],
)
def test_each_state(service: str, socket: str, told: str) -> None:
    units = [dict(pair.split("=") for pair in text.split()) for text in (service, socket)]
    assert explain("app", units[0], units[1]) == told.replace("…", "`sockact logs app`")
