"""Requests per second of a wrapped server against the same server bare, by wrk.

Both run all the time and are loaded in turns, so that whatever else the machine does hits both; the
result is the median of the ratios of neighbouring runs. The servers have one CPU for themselves,
and wrk another one: left to the scheduler, one and the same server's runs are a third apart.
"""

from __future__ import annotations

import contextlib
import os
import re
import statistics
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bench.bare import Bare, temporary
from tests.servers import commands, zoo
from tests.support.deployment import choose, deploy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.commands import Address

# With two workers, a run's connections fall to one of them or to both: its rate is a coin's throw
# between two that are three times apart, bare as well as wrapped.
GTHREAD = replace(
    zoo.BY_NAME["gunicorn gthread"],
    name="gunicorn gthread, one worker",
    command=commands.gunicorn("--workers", "1", "--threads", "8", commands.WSGI),
)
NAMES = ("uvicorn asyncio", "uvicorn uvloop", "http.server")
SERVERS = (*(zoo.BY_NAME[name] for name in NAMES), GTHREAD)
CONNECTIONS = 16
BAD = re.compile(r"(Socket errors|Non-2xx).*")


@dataclass(frozen=True)
class Throughput:
    """The medians of both, in requests per second, and the ratio of each pair of runs."""

    server: str
    bare: float
    wrapped: float
    ratios: tuple[float, ...]
    trouble: str

    @property
    def ratio(self) -> float:
        """The median of the pairs: 1 means that wrapping costs nothing."""
        return statistics.median(self.ratios)


def wrk(address: Address, seconds: int) -> tuple[float, str]:
    """Requests per second, and what wrk has to complain about."""
    done = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", f"http://{address.target}/fast"],
        capture_output=True,
        text=True,
        check=True,
    )
    match = re.search(r"Requests/sec:\s*([\d.]+)", done.stdout)
    if match is None:
        raise RuntimeError(f"wrk said: {done.stdout}{done.stderr}")
    trouble = BAD.search(done.stdout)
    return float(match[1]), trouble[0].strip() if trouble else ""


@contextlib.contextmanager
def only_on(cpu: int) -> Iterator[None]:
    """What is started meanwhile has this CPU alone."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def compare(server: zoo.Server, pairs: int, seconds: int) -> Throughput:
    """So many pairs of runs of so many seconds each."""
    bare: list[float] = []
    wrapped: list[float] = []
    trouble = ""
    cpus = sorted(os.sched_getaffinity(0))
    with temporary() as one, temporary() as other:
        with only_on(cpus[0]):
            plain = Bare(server, *choose(server, one))
            deployment = deploy(server, other)
        with plain, deployment.service, only_on(cpus[-1]):
            plain.wait_ready()
            deployment.service.wait_ready()
            runs = [(plain.address, bare), (deployment.address, wrapped)]
            for address, _ in runs:
                wrk(address, 1)
            for number in range(pairs):
                # Each is first as often as the other.
                for address, results in runs if number % 2 == 0 else reversed(runs):
                    rate, said = wrk(address, seconds)
                    results.append(rate)
                    trouble = trouble or said
    ratios = tuple(there / here for here, there in zip(bare, wrapped, strict=True))
    return Throughput(
        server.name, statistics.median(bare), statistics.median(wrapped), ratios, trouble
    )
