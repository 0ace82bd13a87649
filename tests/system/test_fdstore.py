"""A service that listens itself, without a .socket unit: its listener is in the file descriptor
store of systemd, and outlives its supervisor.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.servers.apps import answers
from tests.support import wait
from tests.system import killing, servers
from tests.system.service import answer

if TYPE_CHECKING:
    from tests.system.conftest import Deploy
    from tests.system.service import Service


def stored(service: Service) -> int:
    """How many descriptors systemd keeps for it."""
    return int(service.show("NFileDescriptorStore"))


def test_a_killed_supervisor_comes_back_and_refuses_nobody(deploy: Deploy) -> None:
    service = deploy(replace(servers.GUNICORN.units(), socket=False))
    with service.load(*servers.SHORT) as load:
        killing.kill_often(service)
        service.releases.publish("2")
        service.systemctl("reload", service.unit)
        assert service.ask() == answers.fast("2").decode()
        report = load.stop()
    killing.check_lost(report)

    def only_what_lives() -> bool:
        return stored(service) == 2

    # The listener, and the pidfd of the one generation.
    wait.until(only_what_lives, "nothing else to be stored")
    service.systemctl("restart", service.unit)
    assert service.ask() == answers.fast("2").decode()
    assert stored(service) == 2


def test_a_surviving_program_ends_before_the_next_generation(deploy: Deploy) -> None:
    """With KillMode=process systemd kills only the supervisor."""
    units = servers.UVICORN.units("KillMode=process")
    service = deploy(replace(units, socket=False))
    before = service.main_pid
    with service.asking("/slow") as client:
        service.wait_busy()
        service.kill(before)
        service.releases.publish("2")
        killing.wait_other_main(service, before)
        assert answer(client) == answers.fast("1").decode()
    assert service.ask() == answers.fast("2").decode()
    service.wait_journal("of an earlier supervisor to exit")
