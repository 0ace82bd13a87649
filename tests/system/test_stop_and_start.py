"""`systemctl restart`, `stop` and socket activation: the listener outlives the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.servers.apps import answers
from tests.system import servers
from tests.system.service import answer

if TYPE_CHECKING:
    from tests.system.conftest import Deploy


def test_a_restart_refuses_nobody(deploy: Deploy) -> None:
    service = deploy(servers.GUNICORN.units())
    before = service.main_pid
    with service.load(*servers.SHORT, servers.GUNICORN.long) as load:
        service.releases.publish("2")
        service.systemctl("restart", service.unit)
        assert service.ask() == answers.fast("2").decode()
        report = load.stop()
    assert not report.failures(), report.explain()
    assert set(report.total().versions) == {"1", "2"}
    assert service.main_pid != before


def test_a_stop_completes_requests_and_activation_serves_the_next(deploy: Deploy) -> None:
    service = deploy(servers.UVICORN.units())
    with service.asking("/slow") as client:
        service.wait_busy()
        service.systemctl("stop", service.unit)
        assert answer(client) == answers.fast("1").decode()
    assert service.active() == {service.unit: "inactive", service.socket: "active"}
    assert service.show("Result") == "success"
    assert service.ask() == answers.fast("1").decode()
    service.wait_active()


def test_the_first_client_starts_the_service(deploy: Deploy) -> None:
    service = deploy(servers.GUNICORN.units(), start=False)
    assert service.active() == {service.unit: "inactive", service.socket: "active"}
    assert service.ask() == answers.fast("1").decode()
    service.wait_active()
