"""Supervisors that are killed again and again, and what clients may notice of that."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bench.tally import Failure
from tests.servers.apps import answers
from tests.support import wait
from tests.system import servers

if TYPE_CHECKING:
    from bench.tally import Report
    from tests.system.service import Service

_KILLS = int(os.environ.get("SOCKACT_KILLS", "5"))


def kill_often(service: Service) -> None:
    """Kill the supervisor of version 1; return when the last one that systemd started serves."""
    for killed in range(1, _KILLS + 1):
        before = service.main_pid
        service.kill(before)
        wait_other_main(service, before)
        assert service.show("NRestarts") == str(killed)
        assert service.ask() == answers.fast("1").decode()


def check_lost(report: Report) -> None:
    """Check that only requests were lost that were being served when a generation was killed."""
    failures = report.total().failures
    clients = sum(load.clients for load in servers.SHORT)
    assert set(failures) <= {Failure.RESET, Failure.EOF}, report.explain()
    assert failures.total() <= _KILLS * clients, report.explain()


def wait_other_main(service: Service, before: int) -> None:
    """Return when the unit is active again, with another supervisor."""

    def active() -> bool:
        return service.main_pid not in (0, before) and service.show("ActiveState") == "active"

    wait.until(active, "the unit to come back", timeout=30)
