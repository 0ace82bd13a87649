"""Many reloads in a row: no client notices, and nothing grows.

By default 15 reloads each with some 50 requests per second and client, to keep the suite short;
SOCKACT_MANY_RELOADS=200 (`make leaks`) is the real thing. Each service is watched by a thread of
its own, all at the same time.
"""

from __future__ import annotations

import contextlib
import os
import statistics
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from bench.bare import temporary
from bench.load import Kind, Load, Plan
from bench.process import LoadProcess
from bench.tally import Report
from tests.servers import zoo
from tests.support import leaks, wait
from tests.support.deployment import deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.service import Service

RELOADS = int(os.environ.get("SOCKACT_MANY_RELOADS", "15"))
EVERY = 3  # reloads between two looks at the supervisor
# Between the medians of the two halves, in bytes. Cancelled timers stay until they would have been
# due, the interpreter keeps small tuples for later, and memory is in pieces: 150 to 510 KiB were
# seen over 200 reloads, in which no object was kept. 10 KiB that each reload kept would show.
RESIDENT_GROWTH = 1 << 20
SETTLED = 5.0  # seconds
ANY = 1 << 20
LONGEST = 60.0 + 10.0 * RELOADS
PAUSE = 0.02 if RELOADS < 200 else 0.0
LOADS = tuple(
    replace(load, pause=max(load.pause, PAUSE))
    for load in (Load(Kind.NEW, 4, pause=0.005), *zoo.KEEP_ALIVE, Load(Kind.SLOW, 2))
)
SERVERS = ("uvicorn uvloop", "gunicorn gthread", "uvicorn unix", "gunicorn unix")

pytestmark = [
    pytest.mark.concurrent,
    pytest.mark.slow,
    pytest.mark.timeout(LONGEST + 60),
]


@dataclass(frozen=True)
class Sample:
    """A supervisor with one generation. Memory in bytes."""

    descriptors: int
    threads: int
    resident: int
    zombies: int
    files: tuple[str, ...]

    @classmethod
    def of(cls, service: Service, descriptors: int) -> Sample:
        """As soon as it has no more than so many descriptors, or else as it is in the end.

        The connection of a command that has ended may still be open; what is leaked stays.
        """
        process = psutil.Process(service.process.pid)
        with contextlib.suppress(TimeoutError):
            wait.until(lambda: process.num_fds() <= descriptors, "fewer descriptors", SETTLED)
        zombies = [x for x in process.children(True) if x.status() == psutil.STATUS_ZOMBIE]
        files = sorted(str(path) for path in service.runtime.rglob("*"))
        return cls(
            process.num_fds(),
            process.num_threads(),
            process.memory_info().rss,
            len(zombies),
            tuple(files),
        )


@dataclass
class Watched:
    """One service, reloaded so often."""

    codes: list[int] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    sockets: set[tuple[int, int]] = field(default_factory=set)  # device and inode of its file
    report: Report = field(default_factory=Report)
    exit_code: int = -1

    def later(self) -> list[Sample]:
        """Without the first look, which still sees what is set up on first use."""
        return self.samples[1:]

    def fewest(self) -> int:
        """Descriptors at any later look."""
        return min((one.descriptors for one in self.later()), default=ANY)


def watch(name: str) -> Watched:
    """Load it, reload it, look at it."""
    found = Watched()
    with temporary() as folder:
        deployment = deploy(zoo.BY_NAME[name], folder)
        with deployment.service as service:
            service.wait_ready()
            path = Path(deployment.address.path or folder)
            with LoadProcess(Plan(deployment.address.target, LOADS, LONGEST)) as load:
                load.wait_started()
                for number in range(1, RELOADS + 1):
                    deployment.releases.publish(str(number + 1))
                    found.codes.append(service.reload().code)
                    found.sockets.add((path.stat().st_dev, path.stat().st_ino))
                    if number % EVERY == 0:
                        service.wait_drained()
                        found.samples.append(Sample.of(service, found.fewest()))
                found.report = load.stop()
            found.exit_code = service.stop()
    return found


@pytest.fixture(scope="module")
def watched() -> Iterator[dict[str, Future[Watched]]]:
    """All of them, under way; checks for leaks when they are done."""
    with leaks.nothing_left(), ThreadPoolExecutor(len(SERVERS)) as pool:
        yield {name: pool.submit(watch, name) for name in SERVERS}


@pytest.mark.parametrize("name", SERVERS)
def test_nothing_grows(name: str, watched: dict[str, Future[Watched]], tables: list[str]) -> None:
    done = watched[name].result()
    assert done.codes == [0] * RELOADS
    assert done.report.failures() == 0, done.report.explain()
    assert done.exit_code == 0
    assert len(done.sockets) == 1, "the socket's file is another one"
    samples = done.later()
    half = len(samples) // 2
    first, last = samples[:half], samples[half:]
    assert {one.threads for one in samples} == {1}
    assert {one.files for one in samples} == {samples[0].files}
    assert min(one.descriptors for one in last) <= min(one.descriptors for one in first)
    # A look may meet a process that has just ended; what is kept is there at every later look.
    assert min(one.zombies for one in last) == 0
    early, late = (statistics.median(one.resident for one in part) for part in (first, last))
    if RELOADS > 15:
        requests = done.report.total().requests
        tables.append(
            f"{name}: {RELOADS} reloads, {requests} requests, 0 failures; "
            f"{samples[-1].descriptors} descriptors, resident {samples[0].resident // 1024} KiB "
            f"at first, {samples[-1].resident // 1024} KiB at last (medians: {early / 1024:.0f}, "
            f"{late / 1024:.0f})"
        )
    assert late - early <= RESIDENT_GROWTH
