"""Measures the log pump: its cost, and lost lines and delays while the disk is full.

The disk is a tmpfs that another file fills. Where none can be mounted, RLIMIT_FSIZE of the pump is
used instead.
"""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.bare import temporary
from tests.support import wait
from tests.support.logs import grows, pump, rotate, said, talking
from tests.support.program import Program
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RELOADS, ROTATIONS = 5, 10
FULL_SECONDS = 5.0
_DISK = 512 << 20
# Lines per write of each of the two processes of a generation, about every millisecond.
AT_ONCE = 32


@dataclass(frozen=True)
class Run:
    """Results of a run. Times are in seconds."""

    rate: float
    """Lines per second, of all processes."""
    share: float
    """Share of a core that the pump used."""
    supervisor: float
    resident_kib: int
    proportional_kib: int
    written: int
    missing: int
    reported: int
    """Lines that the status reports as dropped."""
    longest: float
    """The longest write of the program."""


class _Bench:
    """A service that writes a log."""

    def __init__(self, folder: Path, disk: Path) -> None:
        program = Program(folder)
        program.publish("1", talking(AT_ONCE))
        self.log = disk / "app.log"
        self.left: list[Path] = []
        options = ("--log", str(self.log))
        self.service = Service(
            program.command, folder=folder, listen=program.listen, options=options
        )
        self.service.wait_ready()
        grows(self.log)
        self._pump = pump(self.service).pid
        self._began = time.monotonic()
        self._used = [_seconds(pid) for pid in self._pids()]

    def _pids(self) -> tuple[int, int]:
        return self._pump, self.service.process.pid

    def rotate(self) -> None:
        to = self.log.with_suffix(f".{len(self.left)}")
        rotate(self.service, self.log, to)
        self.left.append(to)

    def reload(self) -> None:
        outcome = self.service.reload("--wait-drained")
        assert outcome.code == 0, outcome

    def limit(self, size: int) -> None:
        """Limit the size of files that the pump writes."""
        _soft, hard = resource.prlimit(self._pump, resource.RLIMIT_FSIZE)
        resource.prlimit(self._pump, resource.RLIMIT_FSIZE, (size, hard))

    def end(self) -> Run:
        """Stop the service, and count the lines."""
        elapsed = time.monotonic() - self._began
        used = [_seconds(pid) - old for pid, old in zip(self._pids(), self._used, strict=True)]
        resident, proportional = (_kib(self._pump, name) for name in ("Rss", "Pss"))
        reported = self.service.status()["logs"][0]["dropped_lines"]
        self.service.stop()
        self.service.close()
        found = said([*self.left, self.log]).values()
        written = sum(one.last or 0 for one in found)
        return Run(
            written / elapsed,
            used[0] / elapsed,
            used[1] / elapsed,
            resident,
            proportional,
            written,
            sum(one.missing for one in found),
            reported,
            max(one.longest for one in found),
        )


def rotations(seconds: float) -> Run:
    """Measure reloads and rotations, spread over `seconds`."""
    with temporary() as folder:
        bench = _Bench(folder, folder)
        _turn_over(bench, seconds, range(ROTATIONS))
        return bench.end()


def _turn_over(bench: _Bench, seconds: float, numbers: range) -> None:
    """Rotate, and reload after every second rotation, spread over `seconds`."""
    for number in numbers:
        _pass(seconds / len(numbers))
        bench.rotate()
        if number % (ROTATIONS // RELOADS) == 0:
            bench.reload()


def full_disk(seconds: float) -> Run:
    """Measure the same with a disk that is full for FULL_SECONDS half-way."""
    half = ROTATIONS // 2
    with temporary() as folder, _disk(folder) as (disk, fill):
        bench = _Bench(folder, disk)
        _turn_over(bench, seconds / 2, range(half))
        free = fill(bench)
        bench.reload()
        _pass(FULL_SECONDS)
        free()
        wait.until(lambda: not bench.service.status()["logs"][0]["error"], "the disk to be used")
        _turn_over(bench, seconds / 2, range(half, ROTATIONS))
        return bench.end()


@contextmanager
def _disk(folder: Path) -> Iterator[tuple[Path, Callable[[_Bench], Callable[[], None]]]]:
    """The directory of the log, and a function that fills the disk and returns one to free it."""
    disk = folder / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "sockact-bench", str(disk)]
    if os.geteuid() or subprocess.run(words, capture_output=True, check=False).returncode:
        yield folder, _limit
        return
    filler = disk / "filler"

    def fill(_bench: _Bench) -> Callable[[], None]:
        with filler.open("wb", buffering=0) as file:
            try:
                while file.write(bytes(1 << 20)):
                    pass
            except OSError:
                return filler.unlink
        raise AssertionError("the disk does not fill up")

    try:
        yield disk, fill
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _limit(bench: _Bench) -> Callable[[], None]:
    bench.limit(os.stat(bench.log).st_size + 1001)
    return lambda: bench.limit(resource.RLIM_INFINITY)


def _pass(seconds: float) -> None:
    """Let time pass: the measurement needs it."""
    threading.Event().wait(seconds)


def _seconds(pid: int) -> float:
    """CPU time."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _kib(pid: int, name: str) -> int:
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(f"{name}:"))
