"""SIGKILL at each step of a reload: nobody is refused, and who waits for what was killed is passed
on, or is counted.
"""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.process.lanes import killed
from tests.process.lanes.killed import LANES, STEPS, Scene
from tests.process.upgrade.restarts import Restarts, read_on
from tests.support import network, varlink, wait
from tests.support.lanes import told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.program import Program
    from tests.support.service import Service

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")

MOMENTS = [*((step, True) for step in STEPS), ("first share", False)]
LENT_AGAIN = (("draining", 2), ("promote", 2), ("rollback", 1))
"""Who is killed may be the one that serves by then: the next generation gets those who wait."""
at_each_step = pytest.mark.parametrize(("step", "migrate"), MOMENTS)


@contextlib.contextmanager
def reloading(
    start: StartService, program: Program, folder: Path, name: str, *, migrate: bool
) -> Iterator[Scene]:
    """A service at this step; its generations stand still, and clients wait for them."""
    step = STEPS[name]
    program.publish("1", killed.ANSWERS)
    probe = ("--ready", f"http://127.0.0.1:{program.port}/") if name == "private probe" else ()
    with network.alone(migrate=migrate):
        service = Restarts(start).first(program, options=(*LANES, *probe, *step.options))
        scene = Scene(service, program, folder / "gate", step)
        try:
            if step.queued_before:
                scene.halt(1)
                scene.crowd(1)
                scene.begin()
            else:
                scene.begin()
                scene.halt(1)
            scene.halt(2)
            scene.crowd(1, 2)
            yield scene
        finally:
            scene.close()


def counted(service: Service) -> dict[str, int]:
    """What the status says, in the words of the journal."""
    return {what.replace("_", " "): n for what, n in service.status()["unaccepted"].items()}


@at_each_step
@pytest.mark.parametrize("victim", [1, 2])
def test_a_generation(
    start: StartService, program: Program, folder: Path, step: str, migrate: bool, victim: int
) -> None:
    with reloading(start, program, folder, step, migrate=migrate) as scene:
        waited = scene.kill(victim)
        scene.resume()
        versions, reset = scene.answers()
        assert reset == (0 if migrate else waited)
        assert versions <= {"1", "2"}
        service = scene.service
        service.wait_drained()
        what = "passed on" if migrate else "reset"
        if (step, victim) not in LENT_AGAIN:
            wait.until(lambda: told(service.stderr)[what] == waited, "the number in the journal")
            assert counted(service) == told(service.stderr)
        assert len({program.ask() for _ in range(10)}) == 1


@at_each_step
def test_the_supervisor(
    start: StartService, program: Program, folder: Path, step: str, migrate: bool
) -> None:
    with reloading(start, program, folder, step, migrate=migrate) as scene:
        before = scene.service
        lanes = scene.lanes()
        if scene.step.ask:
            varlink.begin(before.control, scene.step.ask).close()
        pids = [*scene.stopped.values()]
        before.process.kill()
        before.process.wait()
        for pid in pids:  # As systemd does.
            os.kill(pid, signal.SIGKILL)
            assert wait.ended(pid)
        scene.stopped.clear()
        scene.resume()
        read_on(before)
        before.remove_sockets()
        again = Restarts(start).again(before, program, *program.listen, options=LANES)
        versions, reset = scene.answers()
        assert versions == {"2"}
        kept = max(queued for _, queued in lanes.values())
        moved = sum(queued for _, queued in lanes.values()) - kept
        assert reset == (0 if migrate else moved)
        assert told(again.stderr) == {"passed on": moved - reset, "reset": reset}
        assert counted(again) == told(again.stderr)
        assert {program.ask() for _ in range(10)} == {"2"}
