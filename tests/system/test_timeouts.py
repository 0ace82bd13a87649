"""Work that takes longer than systemd's timeouts, with EXTEND_TIMEOUT_USEC."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.servers.apps import answers
from tests.system import servers
from tests.system.service import answer

if TYPE_CHECKING:
    from tests.system.conftest import Deploy


def test_a_drain_longer_than_timeout_stop_sec(deploy: Deploy) -> None:
    """The long request takes 10 s."""
    service = deploy(servers.GUNICORN.units("TimeoutStopSec=2"))
    with service.asking("/long") as client:
        service.wait_busy()
        service.systemctl("stop", service.unit)
        assert answer(client) == answers.fast("1").decode()
    assert service.show("Result") == "success"


def test_a_start_and_a_reload_longer_than_timeout_start_sec(deploy: Deploy) -> None:
    service = deploy(servers.GUNICORN.units("TimeoutStartSec=2"), import_seconds=3)
    before = service.main_pid
    service.releases.publish("2")
    service.systemctl("reload", service.unit)
    assert service.ask() == answers.fast("2").decode()
    assert service.main_pid == before
    assert service.show("NRestarts") == "0"
