"""What a command takes before and after the work of the supervisor, for one or several `sockact`.

The own time of a reload is that from the start of its process to its end, without what the handover
took by the supervisor's own clock. A status is answered at once: there it is all of its time.
"""

from __future__ import annotations

import compileall
import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.bare import temporary
from tests import ROOT
from tests.support.program import Program
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMANDS = ("reload", "status")
CHECKOUT = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from sockact.__main__ import main
main()
"""


@dataclass(frozen=True)
class Cost:
    """A command of one `sockact`: medians in seconds, and what they are of the first one's."""

    command: str
    sockact: str
    own: float
    own_ratio: float
    cpu: float
    """User and system time of the command's process."""
    cpu_ratio: float


def compare(paths: Sequence[str], runs: int) -> list[Cost]:
    """Each command of each installed `sockact`, in turns; without any, of this checkout.

    Compiles the shim first, as in an installed package, because $PYTHONDONTWRITEBYTECODE may be set
    for the program, which loads most of it in each reload.
    """
    compileall.compile_dir(ROOT / "sockact" / "shim", quiet=1)
    ways = {path: [path] for path in paths}
    ways = ways or {"this checkout": [sys.executable, "-I", "-c", CHECKOUT]}
    with temporary() as folder:
        program = Program(folder)
        with Service(program.command, folder=folder, listen=program.listen) as service:
            service.wait_ready()
            return [cost for command in COMMANDS for cost in _costs(command, ways, runs, service)]


def _costs(command: str, ways: dict[str, list[str]], runs: int, service: Service) -> list[Cost]:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    words = [command, "--json", service.name]
    for number in range(runs + 1):
        for name in ways if number % 2 else reversed(ways):
            found = _run([*ways[name], *words], service)
            if number:  # The first ones fill caches.
                times[name].append(found)
    own, cpu = ({n: statistics.median(t[i] for t in times[n]) for n in ways} for i in (0, 1))
    first = next(iter(ways))
    return [
        Cost(command, name, own[name], own[name] / own[first], cpu[name], cpu[name] / cpu[first])
        for name in ways
    ]


def _run(command: list[str], service: Service) -> tuple[float, float]:
    """The command's own time by the clock, and its CPU time."""
    # Without what would make it start Python twice.
    given = service.environment.items()
    environment = {name: text for name, text in given if not name.startswith("PYTHON")}
    with open(service.folder / "answer", "w+b") as output:
        began = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=output)
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0, command
        output.seek(0)
        answer = json.load(output)
    if "duration_seconds" in answer:
        seconds -= answer["duration_seconds"]
        service.wait_drained()
    return seconds, used.ru_utime + used.ru_stime
