"""The commands against a real control socket: which service they call, and `stop`."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from sockact.supervisor.control import claim
from tests.process.control.running import Running, app, command, finish, sockact_on

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["app"]  # fixtures


def test_stop(app: Running) -> None:
    process = command(app.directory.parent, "stop", "--now")
    app.wait(lambda: bool(app.service.stops))
    [(now, done)] = app.service.stops
    assert now
    done()
    app.end()
    assert finish(process) == (0, "app: stopped\n", "")


def test_a_stop_without_an_answer(app: Running) -> None:
    process = command(app.directory.parent, "stop", "app")
    app.wait(lambda: bool(app.service.stops))
    os.close(app.lock)
    app.lock = -1
    app.server.close()
    assert finish(process) == (0, "app: stopped\n", "")


def test_several_services_run(app: Running, folder: Path) -> None:
    other = Running(folder, "other")
    try:
        code, _, stderr = sockact_on(app, "reload")
        assert code == 2
        assert "several services are running (app, other); name one of them" in stderr
        code, _, stderr = sockact_on(app, "reload", "nix")
        assert code == 3
        assert "running services: app, other" in stderr
    finally:
        other.close()


def test_the_supervisor_hangs(app: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the client runs here, not the loop."""
    from sockact.cli.calls import service
    from sockact.cli.terminal.failures import Failure

    monkeypatch.setattr(service, "ANSWER_SECONDS", 0.05)
    target = service.Service("app", str(app.directory))
    started = time.monotonic()
    with pytest.raises(Failure, match="did not answer within"), target.connect() as connection:
        connection.call("Status", timeout=service.ANSWER_SECONDS)
    assert time.monotonic() - started < 5


def test_a_service_of_another_user(app: Running) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can call as somebody else")
    from sockact.cli.calls import service
    from sockact.cli.terminal.failures import Failure

    target = service.Service("app", str(app.directory))
    os.seteuid(65534)
    try:
        with pytest.raises(Failure, match=r"belongs to user root \(mode"), target.connect():
            pass
    finally:
        os.seteuid(0)


def test_the_lock_names_who_runs(app: Running) -> None:
    with pytest.raises(claim.AlreadyRunning, match="stop it first"):
        claim.lock(str(app.directory))
