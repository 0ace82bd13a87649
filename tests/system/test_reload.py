"""`systemctl reload` with real clients: no client notices, and systemd knows the state."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from sockact.core.settings import Settings
from tests.servers.apps import answers
from tests.support import wait
from tests.system import servers
from tests.system.service import PATIENCE
from tests.system.units import USER

if TYPE_CHECKING:
    from tests.system.conftest import Deploy
    from tests.system.servers import Server


@pytest.mark.parametrize("server", servers.SERVERS, ids=lambda server: server.name)
def test_no_client_notices_a_reload(deploy: Deploy, server: Server) -> None:
    service = deploy(server.units())
    assert (service.show("User"), service.show("ProtectSystem")) == (USER, "strict")
    before = service.main_pid
    with service.load(*servers.SHORT, server.long) as load:
        service.releases.publish("2")
        service.systemctl("reload", service.unit)
        # The long requests are still being served, as long as they take.
        expected = re.compile(
            r'Status: "serving; generation 1 draining \(up to \d+ s left\); generation 2 running; '
            "last reload: switched from 1 to 2"
        )
        status = "status", "--lines=0", "--full", service.unit
        wait.until(lambda: expected.search(service.systemctl(*status).stdout), "the status line")
        assert service.ask() == answers.fast("2").decode()
        service.releases.publish("3")
        service.systemctl("reload", service.unit)
        service.wait_status_text("generation 3 running; last reload: switched from 2 to 3")
        assert service.ask() == answers.fast("3").decode()
        report = load.stop()
    assert not report.failures(), report.explain()
    assert set(report.total().versions) == {"1", "2", "3"}
    assert service.main_pid == before
    assert service.show("NRestarts") == "0"


def test_a_reason_on_standard_output(deploy: Deploy) -> None:
    units = servers.GUNICORN.units()
    check = 'test -e refused || exec "$@"; echo "no database"; exit 1'
    service = deploy(replace(units, command=("/bin/sh", "-c", check, "sh", *units.command)))
    service.releases.publish("2")
    service.machine.write("/srv/app/current/refused", "")
    done = service.systemctl("reload", service.unit, check=False)
    assert done.returncode == 1
    reason = "the program exited with status 1 before it was ready: no database"
    service.wait_status_text(f"generation 1 running; last reload failed: {reason}")
    for command in ("status", "history"):
        shown = " ".join(service.run("sockact", command, service.name).stdout.split())
        assert reason in shown
    expected = "no database", f"generation 2: reload failed: {reason}"
    for line in expected:
        service.wait_journal(line)
    lines = service.journal().splitlines()
    assert [lines.count(line) for line in expected] == [1, 1]


def test_a_broken_release_fails_the_reload_and_nothing_else(deploy: Deploy) -> None:
    service = deploy(servers.GUNICORN.units())
    before = service.main_pid
    with service.load(*servers.SHORT) as load:
        service.releases.publish_broken("2")
        # At once, and not at the end of the start timeout, which nothing here waits for.
        assert Settings.start_timeout > PATIENCE
        assert service.systemctl("reload", service.unit, check=False).returncode == 1
        service.wait_journal("RuntimeError: release 2 is broken")
        service.wait_status_text("generation 1 running; last reload failed: the program exited")
        assert service.show("ActiveState") == "active"
        assert service.ask() == answers.fast("1").decode()
        service.releases.publish("3")
        service.systemctl("reload", service.unit)
        assert service.ask() == answers.fast("3").decode()
        report = load.stop()
    assert not report.failures(), report.explain()
    assert set(report.total().versions) == {"1", "3"}
    assert service.main_pid == before
