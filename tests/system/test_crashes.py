"""A crash of the program or of the supervisor does not close the listener."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.servers.apps import answers
from tests.support import wait
from tests.system import killing, servers
from tests.system.service import answer

if TYPE_CHECKING:
    from tests.system.conftest import Deploy


def test_a_crash_loop_leaves_the_listener_alive(deploy: Deploy) -> None:
    service = deploy(servers.HTTP_SERVER.units())
    before = service.main_pid
    service.releases.publish_broken("2")
    (running,) = service.status()["generations"]
    service.kill(running["pid"])
    # More than systemd's own StartLimitBurst= would allow.
    service.wait_journal("generation 6: the program exited")
    with service.asking() as client:
        assert service.active() == {service.unit: "active", service.socket: "active"}
        service.releases.publish("3")
        assert answer(client) == answers.fast("3").decode()
    assert service.main_pid == before
    assert service.show("NRestarts") == "0"


def test_a_service_that_cannot_start_leaves_the_listener_alive(deploy: Deploy) -> None:
    service = deploy(servers.UVICORN.units(), start=False)
    service.releases.publish_broken("2")
    service.systemctl("start", service.unit, check=False)

    def restarts() -> bool:
        return int(service.show("NRestarts")) > 6

    wait.until(restarts, "more restarts than StartLimitBurst= would allow", timeout=30)
    with service.asking() as client:
        assert service.active()[service.socket] == "active"
        service.releases.publish("3")
        assert answer(client) == answers.fast("3").decode()
    service.wait_active()


def test_a_supervisor_that_is_killed_during_a_reload_comes_back_at_once(deploy: Deploy) -> None:
    """Not at the end of a timeout that systemd waits for the end of the reload, or the watchdog."""
    units = servers.GUNICORN.units("TimeoutStartSec=infinity", "WatchdogSec=0")
    service = deploy(units, import_seconds=2.0)
    service.releases.publish("2")
    before = service.main_pid
    service.systemctl("reload", "--no-block", service.unit)
    service.wait_status_text("generation 2 pending")
    service.kill(before)
    killing.wait_other_main(service, before)
    assert service.ask() == answers.fast("2").decode()
    assert service.show("NRestarts") == "1"


def test_a_killed_supervisor_comes_back_and_refuses_nobody(deploy: Deploy) -> None:
    service = deploy(servers.GUNICORN.units())
    with service.load(*servers.SHORT) as load:
        killing.kill_often(service)
        report = load.stop()
    killing.check_lost(report)
    assert service.active() == {service.unit: "active", service.socket: "active"}
