"""WatchdogSec= of a real systemd: a generation that does not serve is replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tests.servers.apps import answers
from tests.system import servers

if TYPE_CHECKING:
    from tests.system.conftest import Deploy

# A hung program does not exit by itself.
LIMITS = ("--drain-timeout", "0.5s", "--kill-timeout", "0.5s")


def test_a_hung_event_loop_is_replaced(deploy: Deploy) -> None:
    service = deploy(replace(servers.UVICORN.units("WatchdogSec=2s"), options=LIMITS))
    before = service.main_pid
    service.releases.publish("2")
    with service.asking("/hang"):
        service.wait_busy()
        # This client waits in the queue of a program that will never accept.
        assert service.ask() == answers.fast("2").decode()
        service.wait_journal("generation 1: not accepting connections for")
        service.wait_status_text("^serving; generation 2 running; last reload: switched from 1")
    # It was replaced by a handover, not by a restart.
    assert service.main_pid == before
    assert service.show("NRestarts") == "0"
