"""A service of a user manager: `systemctl --user`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.servers.apps import answers
from tests.system import servers
from tests.system.units import USER

if TYPE_CHECKING:
    from tests.system.conftest import Deploy


@pytest.mark.usefixtures("user_manager")
def test_no_client_notices_a_reload(deploy: Deploy) -> None:
    service = deploy(replace(servers.UVICORN.units(), user_unit=True), user=USER)
    before = service.main_pid
    with service.load(*servers.SHORT) as load:
        service.releases.publish("2")
        service.systemctl("reload", service.unit)
        service.wait_status_text("generation 2 running; last reload: switched from 1 to 2")
        assert service.ask() == answers.fast("2").decode()
        report = load.stop()
    assert not report.failures(), report.explain()
    assert set(report.total().versions) == {"1", "2"}
    assert service.main_pid == before


def test_a_service_of_the_system_is_its_administrators(deploy: Deploy) -> None:
    service = deploy(servers.UVICORN.units())
    for command in ("reload", "status"):
        done = service.machine.run("sockact", command, service.name, user="daemon")
        assert done.returncode != 0
        assert f"/run/sockact/{service.name} belongs to user " in done.stderr
        assert done.stderr.endswith("but this is user daemon; use sudo\n")
