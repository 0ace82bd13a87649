"""Clients of any protocol in which a client asks first, and what they notice.

As a process in the network of a machine: `python -m tests.system.visitor ADDRESS ASK EXPECT`, the
latter in hexadecimal, which writes a line when the first one has its answer, and Notes as JSON
when its input ends.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tests import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

# Seconds.
_PAUSE = 0.005
_PATIENCE = 20.0
_COUNTERS = ("ListenOverflows", "ListenDrops", "TCPSynRetrans", "TCPReqQFullDrop")


@dataclass(frozen=True)
class Question:
    """What is asked, and how the answer begins."""

    address: str
    """A path, or HOST:PORT."""
    ask: bytes
    expect: bytes


@dataclass
class Notes:
    """What the clients noticed."""

    answers: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    """Kind → number; refused ones, too."""
    refused: float = 0.0
    """Seconds from the first refused connection of a row to the next that was not."""
    waited: float = 0.0
    """Seconds of the longest connection that was answered."""
    gap: float = 0.0
    """The longest time without a new connection, as the machine was busy: nothing is known of it.
    """
    dropped: dict[str, int] = field(default_factory=dict)
    """Counter of the kernel → how many first packets of connections it has dropped, or sent again.
    """


class Visitors:
    """The clients in a child process: construct, and `stop`."""

    def __init__(self, question: Question, launcher: Sequence[str]) -> None:
        """`launcher` is a command that runs the child in a namespace. Raises AssertionError when
        there are no answers.
        """
        words = (question.address, question.ask.hex(), question.expect.hex())
        self._process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "tests.system.visitor", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._process.stdout
        said = self._process.stdout.readline()
        if said != b"answered\n":
            self._process.kill()
            self._close()
            raise AssertionError(f"{question.address}: {said.decode().strip()}")

    def __enter__(self) -> Visitors:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._close()

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                pipe.close()
        self._process.wait()

    def stop(self) -> Notes:
        """Let every client finish."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        notes = json.load(self._process.stdout)
        self._close()
        return Notes(**notes)


@dataclass
class Visit:
    """One connection. Times are those of time.monotonic()."""

    began: float
    connected: float = 0.0
    """Or refused."""
    ended: float = 0.0
    outcome: str = ""
    """What went wrong; empty for an answer."""


async def _ask(question: Question, visit: Visit) -> str:
    """What went wrong; empty for the answer."""
    host, _, port = question.address.rpartition(":")
    try:
        if port.isdecimal():
            reader, writer = await asyncio.open_connection(host, int(port))
        else:
            reader, writer = await asyncio.open_unix_connection(question.address)
        visit.connected = time.monotonic()
        try:
            writer.write(question.ask)
            got = await reader.read(len(question.expect))
        finally:
            writer.transport.abort()
    except (ConnectionRefusedError, FileNotFoundError):
        return "refused"
    except OSError as error:
        return type(error).__name__
    if not got:
        return "ended without an answer"
    return "" if got == question.expect else f"answered {got!r}"


async def _visit(question: Question, visits: list[Visit]) -> None:
    visit = Visit(time.monotonic())
    try:
        visit.outcome = await asyncio.wait_for(_ask(question, visit), _PATIENCE)
    except TimeoutError:
        visit.outcome = "no answer"
    visit.ended = time.monotonic()
    visit.connected = visit.connected or visit.ended
    visits.append(visit)


async def _visits(question: Question) -> list[Visit]:
    """One after the other, whether or not those before have been answered."""
    visits: list[Visit] = []
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, over.set)
    await _visit(question, visits)
    sys.stdout.write(f"{visits[0].outcome or 'answered'}\n")
    sys.stdout.flush()
    tasks = set()
    while not over.is_set():
        task = asyncio.create_task(_visit(question, visits))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(_PAUSE)
    await asyncio.gather(*tasks)
    return visits


def summary(visits: Sequence[Visit]) -> Notes:
    """What all of them noticed."""
    notes = Notes()
    since = 0.0
    for visit in sorted(visits, key=lambda one: one.connected):
        if visit.outcome:
            notes.failures[visit.outcome] = notes.failures.get(visit.outcome, 0) + 1
        else:
            notes.answers += 1
            notes.waited = max(notes.waited, visit.ended - visit.began)
        if visit.outcome == "refused":
            since = since or visit.connected
        elif since:
            notes.refused += visit.connected - since
            since = 0.0
    times = sorted(one.began for one in visits)
    notes.gap = max((later - sooner for sooner, later in itertools.pairwise(times)), default=0.0)
    return notes


def _dropped() -> Counter[str]:
    """What the kernel has counted in this network namespace (proc_net(5), netstat)."""
    names, values = Path("/proc/self/net/netstat").read_text().splitlines()[:2]
    found = dict(zip(names.split()[1:], map(int, values.split()[1:]), strict=True))
    return Counter({name: found[name] for name in _COUNTERS})


def main() -> None:
    """The child."""
    address, ask, expect = sys.argv[1:]
    question = Question(address, bytes.fromhex(ask), bytes.fromhex(expect))
    before = _dropped()
    notes = summary(asyncio.run(_visits(question)))
    notes.dropped = dict(_dropped() - before)
    sys.stdout.write(json.dumps(asdict(notes)))


if __name__ == "__main__":
    main()
