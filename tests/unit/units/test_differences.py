"""What `sockact wrap` announces, and what `sockact check` says of the result."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sockact.cli.setup.check import examine
from sockact.units.facts import Facts, Unit
from sockact.units.wrap import differences, drop_in
from tests.unit.units.wrapped import SOCKET, WRAP, facts


@pytest.mark.parametrize(
    "found",
    [
        facts(),
        facts(Type="notify", KillSignal="3", TimeoutStopUSec="5s", SendSIGHUP="yes"),
        facts(
            RuntimeDirectory="web",
            StateDirectory="web",
            SystemCallFilter="bind",
            RestrictAddressFamilies="~AF_NETLINK",
        ),
        facts("ExecStop=/x", ExecStop="{ path=/x }"),
    ],
)
def test_the_check_has_nothing_to_say(found: Facts) -> None:
    socket = Unit("web.socket", {"ActiveState": "inactive", "Listen": SOCKET["Listen"]})
    assert examine(drop_in.merged(found, WRAP, (socket,))) == []


def test_the_check_sees_an_address_that_nobody_holds() -> None:
    socket = Unit("web.socket", {"ActiveState": "inactive", "Listen": "127.0.0.1:81 (Stream)"})
    (finding,) = examine(drop_in.merged(facts(), WRAP, (socket,)))
    assert "the program binds 127.0.0.1:80" in finding.message


def test_what_changes() -> None:
    found = facts(
        "ExecReload=/bin/kill -HUP $MAINPID",
        "ExecStop=/x stop",
        "ExecStartPre=/x migrate",
        "ExecStartPost=/x $MAINPID",
        start="-@/x other",
        RuntimeDirectory="web",
        StateDirectory="web",
        PIDFile="/run/x.pid",
    )
    said = "\n".join(differences.describe(found, WRAP))
    for hint in (
        "instead of running /bin/kill -HUP $MAINPID",
        "`systemctl stop web.socket web`",
        "sockact drains the program and stops it with SIGTERM (add --stop-signal if it needs",
        "ExecStartPre= runs at a start",
        "$MAINPID is sockact's process",
        "the @ of ExecStart=",
        "the - of ExecStart=",
        "on-failure, instead of no",
        "sudo",
        "$RUNTIME_DIRECTORY has a second entry",
        "$STATE_DIRECTORY has a second entry",
        "PIDFile=/run/x.pid is ignored",
    ):
        assert hint in said
    assert "stop both" not in "\n".join(differences.describe(found, replace(WRAP, native=True)))
    kill = facts("ExecStop=kill -QUIT $MAINPID")
    assert "--stop-signal" not in "\n".join(differences.describe(kill, WRAP))
    given = replace(WRAP, options=("--stop-signal", "QUIT"))
    assert "--stop-signal" not in "\n".join(differences.describe(found, given))
    assert "gunicorn's own, earlier READY=1" in "\n".join(
        differences.describe(facts(Type="notify"), WRAP)
    )
