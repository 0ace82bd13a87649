"""What all fuzzers share: the run, and what must hold in it.

A fuzzer sends messages in batches. Between them, and where it can, in the middle of them, honest
requests must be answered. A run fails if

- something crashes: a supervisor ends, its service is no longer served, an exception leaves the
  place that should have caught it (`Broken`),
- an honest request takes longer than `HANG`, not counting the time in which the processes involved
  wait for a CPU (proc_pid_schedstat), or reading one file takes as much CPU time,
- memory grows by more than `GROWTH_KIB`, or descriptors by more than `GROWTH_FDS`, after a first
  part in which caches and pools fill.
"""

from __future__ import annotations

import ctypes
import gc
import os
import random
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from bench.bare import temporary

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

HANG = 1.0
GROWTH_KIB = 4096
GROWTH_FDS = 4
FIRST = 20_000
"""Messages after which memory and descriptors are first looked at: a fifth of them at most."""


class Broken(Exception):
    """Something gave way: what, and what it was told."""


@dataclass(frozen=True)
class Vitals:
    """What must not grow."""

    resident_kib: int
    descriptors: int

    @classmethod
    def of(cls, *pids: int) -> Vitals:
        """Those of some processes together."""
        memory = 0
        for pid in pids:
            status = Path(f"/proc/{pid}/status").read_text()
            found = re.search(r"^VmRSS:\s*(\d+)", status, re.M)
            memory += int(found[1]) if found else 0
        return cls(memory, sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids))


class Target(Protocol):
    """What is fuzzed. Each method raises Broken."""

    def send(self, count: int) -> None:
        """Send so many messages."""

    def look(self) -> float:
        """Make honest requests; return the seconds that the slowest one since the last look took,
        those in `send` included.
        """

    def vitals(self) -> Vitals:
        """Look at what must not grow, when all that was sent has been dealt with."""


@dataclass(frozen=True)
class Fuzzer:
    """A fuzzer. `batch`: messages between two looks; `few`: those of a short run."""

    name: str
    target: Callable[[random.Random, Path], AbstractContextManager[Target]]
    batch: int
    few: int


@dataclass
class Report:
    """What became of a run."""

    name: str
    seed: int
    messages: int = 0
    seconds: float = 0.0
    before: Vitals = Vitals(0, 0)
    after: Vitals = Vitals(0, 0)
    longest: float = 0.0
    broken: str = ""
    interrupted: bool = False

    def problems(self, hang: float = HANG) -> list[str]:
        """What did not hold."""
        found = [self.broken] if self.broken else []
        if self.longest > hang:
            found.append(f"an honest request took {self.longest:.2f} s")
        if self.after.resident_kib > self.before.resident_kib + GROWTH_KIB:
            found.append(f"memory grew by more than {GROWTH_KIB} KiB")
        if self.after.descriptors > self.before.descriptors + GROWTH_FDS:
            found.append(f"descriptors grew by more than {GROWTH_FDS}")
        return found

    def line(self) -> str:
        """The run in one line."""
        return (
            f"{self.name}: {self.messages} messages, seed {self.seed}, {self.seconds:.0f} s, "
            f"RSS {self.before.resident_kib} → {self.after.resident_kib} KiB, "
            f"descriptors {self.before.descriptors} → {self.after.descriptors}, "
            f"longest answer {self.longest * 1000:.0f} ms, "
            + ("; ".join(self.problems()) or "nothing broke")
            + (" (interrupted)" if self.interrupted else "")
        )

    def replay(self) -> str:
        """The command that sends the same messages again."""
        return f"python -m tests.fuzz {self.name} --seed {self.seed} --messages {self.messages}"


def run(fuzzer: Fuzzer, seed: int, messages: int, seconds: float = 0.0) -> Report:
    """Send so many messages, or for so many seconds, or until SIGINT."""
    report = Report(fuzzer.name, seed)
    chance = random.Random(f"{fuzzer.name} {seed}")
    began = time.monotonic()
    try:
        with temporary() as folder, fuzzer.target(chance, folder) as target:
            first = min(FIRST, messages // 5) if messages else FIRST
            _send(report, fuzzer, target, first, began + seconds / 5 if seconds else 0.0)
            report.before = report.after = target.vitals()
            try:
                _send(report, fuzzer, target, messages, began + seconds if seconds else 0.0)
            except KeyboardInterrupt:
                report.interrupted = True
            report.after = target.vitals()
    except Broken as error:
        report.broken = str(error)
    report.seconds = time.monotonic() - began
    return report


def _send(report: Report, fuzzer: Fuzzer, target: Target, upto: int, until: float) -> None:
    while time.monotonic() < until if until else report.messages < upto:
        count = fuzzer.batch if until else min(fuzzer.batch, upto - report.messages)
        report.messages += count
        target.send(count)
        report.longest = max(report.longest, target.look())


class Parsers:
    """A Target in this process: each message goes through `one`, which raises for a fault.

    `good` checks that a sound message is still understood.
    """

    def __init__(self, one: Callable[[], None], good: Callable[[], None]) -> None:
        self._one = one
        self._good = good
        self._longest = 0.0

    def send(self, count: int) -> None:
        """Parse so many."""
        for _ in range(count):
            began = time.process_time()
            self._one()
            self._longest = max(self._longest, time.process_time() - began)

    def look(self) -> float:
        """Parse a sound one."""
        self._good()
        longest, self._longest = self._longest, 0.0
        return longest

    def vitals(self) -> Vitals:
        """Those of this process, without memory that is free and that malloc(3) keeps."""
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        return Vitals.of(os.getpid())


def queued(pid: int) -> float:
    """The seconds that a process was ready to run, but had no CPU: proc_pid_schedstat(5)."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0  # A kernel without schedstat.
