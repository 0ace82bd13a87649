"""Compares requests per second of a server under sockact and without it, with wrk.

Both servers run all the time and are loaded in turns, so that other work on the machine affects
both. The result is the median of the ratios of neighbouring runs. The servers have one CPU, and wrk
has another: without that, runs of the same server differ by a third.
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

# One worker: with two, the connections of a run go to one worker or to both, and the rates of runs
# differ by a factor of three, with and without sockact.
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
    """Medians in requests per second, and the ratio of each pair of runs."""

    server: str
    bare: float
    wrapped: float
    ratios: tuple[float, ...]
    trouble: str

    @property
    def ratio(self) -> float:
        """The median of the ratios; 1 means that sockact costs nothing."""
        return statistics.median(self.ratios)


def wrk(address: Address, seconds: int) -> tuple[float, str]:
    """Requests per second, and errors that wrk reports."""
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
    """Restrict processes that are started in this context to one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def compare(server: zoo.Server, pairs: int, seconds: int) -> Throughput:
    """Run `pairs` pairs of runs, `seconds` each."""
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
                # Take turns in going first.
                for address, results in runs if number % 2 == 0 else reversed(runs):
                    rate, said = wrk(address, seconds)
                    results.append(rate)
                    trouble = trouble or said
    ratios = tuple(there / here for here, there in zip(bare, wrapped, strict=True))
    return Throughput(
        server.name, statistics.median(bare), statistics.median(wrapped), ratios, trouble
    )
