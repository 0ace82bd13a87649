"""Measures the supervisor: memory, wake-ups while idle, and the delay of the start."""

from __future__ import annotations

import compileall
import re
import signal
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from bench.bare import Bare, temporary, version
from tests import ROOT
from tests.servers import zoo
from tests.support import wait
from tests.support.deployment import choose, deploy, start

IDLE_SECONDS = 10.0


@dataclass(frozen=True)
class Footprint:
    """The supervisor of an idle service."""

    resident_kib: int
    proportional_kib: int
    syscalls: int  # in IDLE_SECONDS, counted by strace
    switches: int  # voluntary context switches in IDLE_SECONDS without strace
    ticks: int  # of CPU time in the same seconds
    calls: str  # the most frequent system calls


@dataclass(frozen=True)
class Start:
    """Seconds from the command to the first answer; medians of pairs of runs."""

    server: str
    bare: float
    wrapped: float
    added: float


def footprint(name: str) -> Footprint:
    """Measure the supervisor of one server."""
    server = zoo.BY_NAME[name]
    with temporary() as folder:
        deployment = deploy(server, folder)
        with deployment.service as service:
            service.wait_ready()
            deployment.version()
            pid = int(service.status()["pid"])
            # Wait for the timers of the start, which take 1 s each.
            rest(2.0)
            before = _switches(pid), _ticks(pid)
            rest(IDLE_SECONDS)
            after = _switches(pid), _ticks(pid)
            resident = _field(f"/proc/{pid}/status", "VmRSS")
            proportional = _field(f"/proc/{pid}/smaps_rollup", "Pss")
            calls, table = strace(pid, IDLE_SECONDS)
    return Footprint(
        resident, proportional, calls, after[0] - before[0], after[1] - before[1], table
    )


def rest(seconds: float) -> None:
    """Let time pass: the measurement needs it."""
    threading.Event().wait(seconds)


def strace(pid: int, seconds: float) -> tuple[int, str]:
    """Count the system calls within `seconds`; also return the most frequent ones."""
    with tempfile.NamedTemporaryFile("r") as output:
        tracer = subprocess.Popen(
            ["strace", "-c", "-f", "-p", str(pid), "-o", output.name],
            stderr=subprocess.DEVNULL,
        )
        wait.until(lambda: _field(f"/proc/{pid}/status", "TracerPid"), "strace to attach")
        rest(seconds)
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        text = output.read()
    rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", text, re.M)
    found = {name: int(count) for count, name in rows if name != "total"}
    busiest = sorted(found.items(), key=lambda item: -item[1])[:4]
    return sum(found.values()), ", ".join(f"{name} {count}" for name, count in busiest)


def _field(path: str, name: str) -> int:
    match = re.search(rf"^{name}:\s*(\d+)", Path(path).read_text(), re.M)
    return int(match[1]) if match else 0


def _switches(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(_field(f"{task}/status", "voluntary_ctxt_switches") for task in tasks)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def first_answer(name: str, pairs: int) -> Start:
    """Measure how much later the first answer comes under sockact.

    Compiles the code first, as in an installed package: $PYTHONDONTWRITEBYTECODE may be set.
    """
    compileall.compile_dir(ROOT / "sockact", quiet=1)
    bare: list[float] = []
    wrapped: list[float] = []
    runs = [(_start_bare, bare), (_start_wrapped, wrapped)]
    for number in range(pairs):
        for run, results in runs if number % 2 == 0 else reversed(runs):
            with temporary() as folder:
                results.append(run(zoo.BY_NAME[name], folder))
    added = [there - here for here, there in zip(bare, wrapped, strict=True)]
    medians = [statistics.median(values) for values in (bare, wrapped, added)]
    return Start(name, *medians)


def _start_bare(server: zoo.Server, folder: Path) -> float:
    address, releases = choose(server, folder)
    began = time.monotonic()
    with Bare(server, address, releases):
        wait.until(lambda: version(server, address), "the first answer", 20.0, interval=0.001)
        return time.monotonic() - began


def _start_wrapped(server: zoo.Server, folder: Path) -> float:
    address, releases = choose(server, folder)
    began = time.monotonic()
    with start(server, folder, address, releases).service:
        wait.until(lambda: version(server, address), "the first answer", 20.0, interval=0.001)
        return time.monotonic() - began
