"""`sockact reload` against a real control socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sockact.core.lifecycle.stop import STOPPING
from sockact.supervisor.control import interface, varlink
from tests.process.control.bench import FAILED, HANDOVER
from tests.process.control.running import Running, app, command, finish, sockact_on

__all__ = ["app"]  # fixtures


def test_a_reload_that_succeeds(app: Running) -> None:
    app.service.at_once = (HANDOVER, True)
    assert sockact_on(app, "reload", "app") == (
        0,
        "app: generation 2 is serving (ready in 0.41 s); generation 1 is draining\n",
        "",
    )
    assert app.service.reloads[0][0] is False


def test_a_reload_that_waits_for_the_drain(app: Running) -> None:
    app.service.at_once = ({**HANDOVER, "drained": True}, True)
    code, stdout, _ = sockact_on(app, "reload", "--wait-drained", SOCKACT_NAME="app")
    assert (code, stdout.partition("; ")[2]) == (0, "generation 1 has drained\n")
    assert app.service.reloads[0][0] is True


def test_a_reload_that_keeps_the_predecessor(app: Running) -> None:
    app.service.at_once = ({**HANDOVER, "kept": True}, True)
    stdout = sockact_on(app, "reload", SOCKACT_NAME="app")[1]
    assert stdout.partition("; ")[2] == "generation 1 is kept for a rollback\n"


def test_a_failed_reload_whose_predecessor_has_ended(app: Running) -> None:
    failed = {**HANDOVER, "outcome": "failed", "reason": "x; it goes on serving", "drained": True}
    app.service.at_once = (failed, False)
    stderr = sockact_on(app, "reload", SOCKACT_NAME="app")[2]
    assert stderr == "sockact: app: generation 2 failed: x; it goes on serving\n"


def test_a_reload_without_a_predecessor(app: Running) -> None:
    app.service.at_once = ({**HANDOVER, "from": None}, True)
    assert sockact_on(app, "reload")[1] == "app: generation 2 is serving (ready in 0.41 s)\n"


def test_a_reload_that_fails(app: Running) -> None:
    app.service.at_once = (FAILED, False)
    code, stdout, stderr = sockact_on(app, "reload")
    assert (code, stdout) == (1, "")
    reason = "exited with 1 before it was ready"
    assert stderr.splitlines() == [
        f"sockact: app: generation 2 failed: {reason}; generation 1 is still serving",
        "  | Traceback",
        "  | ImportError: \\x1b[31mapp",
    ]


@pytest.mark.parametrize(("handover", "code"), [(HANDOVER, 0), (FAILED, 1)])
def test_a_reload_as_json(app: Running, handover: dict[str, Any], code: int) -> None:
    app.service.at_once = (handover, code == 0)
    result = sockact_on(app, "reload", "--json")
    assert (result[0], json.loads(result[1])) == (code, handover)


def test_a_reload_that_takes_too_long(app: Running) -> None:
    code, stdout, stderr = sockact_on(app, "reload", "--timeout", "50ms")
    assert (code, stdout) == (4, "")
    reason, _, hint = stderr.partition("; ")
    assert reason == "sockact: app: no outcome within 0.05 s"
    assert hint == "the reload continues, see `sockact status app`\n"


def test_a_reload_of_what_stops(app: Running) -> None:
    app.service.refusal = varlink.Refused(interface.STOPPING)
    code, _, stderr = sockact_on(app, "reload")
    assert code == 1
    assert stderr.startswith("sockact: app is stopping; ")


def test_a_reload_that_the_stop_of_the_service_ended(app: Running) -> None:
    app.service.at_once = ({**FAILED, "reason": STOPPING, "stderr": []}, False)
    assert sockact_on(app, "reload") == (1, "", "sockact: app: the service is stopping\n")


def test_a_reload_whose_supervisor_dies(app: Running) -> None:
    process = command(app.directory.parent, "reload")
    app.wait(lambda: bool(app.service.reloads))
    app.end()
    code, _, stderr = finish(process)
    assert code == 1
    assert "closed the connection before it answered; check its log" in stderr
