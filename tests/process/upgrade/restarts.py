"""Services that are started again after their supervisor was killed, as systemd does it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support import passing, wait

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.support.program import Program
    from tests.support.service import Service

LISTENER, PIDFD = "sockact-listener-", "sockact-pidfd-"


@dataclass(frozen=True)
class Restarts:
    """Starts services, and starts them again as systemd does it: with what it has stored."""

    start: StartService

    def first(self, program: Program, *listen: str, options: tuple[str, ...] = ()) -> Service:
        service = self.start(program.command, listen=listen or program.listen, options=options)
        service.status()  # So that what is told after READY=1 has been told, too.
        read_on(service)
        return service

    def kill(self, service: Service, *, ends: bool = True) -> None:
        """With `ends`, return when its program has ended, which may accept clients before."""
        pids = [pid for one in service.status()["generations"] for pid in one["pids"]]
        service.process.kill()
        service.process.wait()
        assert not ends or all(map(wait.ended, pids))
        read_on(service)
        service.remove_sockets()

    def again(
        self,
        before: Service,
        program: Program,
        *listen: str,
        options: tuple[str, ...] = (),
        passed: tuple[tuple[str, int], ...] = (),
        ready: bool = True,
    ) -> Service:
        """`passed` are listeners of a .socket unit, by their names."""
        store = dict(before.notify.store)
        before.notify.store.clear()
        with passing.passed([*passed, *store.items()]) as handed:
            service = self.start(
                program.command,
                listen=listen,
                options=options,
                environment={**os.environ, **handed.variables},
                pass_fds=handed.fds,
                launcher=handed.launcher,
                ready=False,
            )
        service.notify.store.update(store)
        if ready:
            service.wait_ready()
        return service


def read_on(service: Service) -> None:
    while service.notify.receive(0):
        pass


def told(service: Service, key: str) -> list[str]:
    """The FDNAME= of each message that has this field, or the fields of its name."""
    read_on(service)
    return [m.get("FDNAME") or "" for m in service.notify.messages if m.get(key)]


def stored(service: Service, kind: str) -> list[str]:
    read_on(service)
    return [name for name in service.notify.store if name.startswith(kind)]


@pytest.fixture
def restarts(start: StartService) -> Restarts:
    return Restarts(start)
