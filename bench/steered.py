"""What clients notice of lanes: nothing of a release that fails its private proof, and nothing at
all between two reloads.

Both services of a comparison run all the time and are loaded in turns, so that other work on the
machine affects both.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.bare import temporary
from bench.load import Kind, Load, Plan
from bench.process import LoadProcess
from bench.trial import pause
from tests.servers import zoo
from tests.support.deployment import deploy
from tests.support.program import Hammer, Program
from tests.support.service import Service

if TYPE_CHECKING:
    from bench.tally import Report
    from tests.servers.zoo import Server

LANES = ("--lanes", "require")
CLIENTS = (Load(Kind.NEW, 8),)
LONGEST = 600.0

ANSWERS = """
def serve(connection):
    with connection:
        connection.recv(1000)
        body = b"version " + VERSION + b"\\n"
        length = b"\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
        connection.sendall(b"HTTP/1.0 " + STATUS + length + body)
"""


@dataclass(frozen=True)
class Proof:
    """Clients of a service to which a release is deployed that answers with status 500."""

    requests: int
    failures: int
    seen: int  # answers by the release
    reloads: int
    accepted: int  # reloads that did not fail


def proof(requests: int) -> Proof:
    """Deploy the release again and again until there were so many requests."""
    reloads = accepted = 0
    with temporary() as folder:
        program = Program(folder)
        program.publish("1", f"{ANSWERS}STATUS = b'200 OK'\naccept(bound())\n")
        probe = f"http://127.0.0.1:{program.port}/health"
        options = (*LANES, "--trial", "10s", "--probe", probe)
        with Service(
            program.command, folder=folder, listen=program.listen, options=options
        ) as service:
            service.wait_ready()
            program.publish("2", f"{ANSWERS}STATUS = b'500 Broken'\naccept(bound())\n")
            with Hammer(program.port, clients=8, pause=0.0) as hammer:
                while hammer.answers.total() < requests:
                    accepted += service.reload("--force").code == 0
                    reloads += 1
    seen = sum(count for text, count in hammer.answers.items() if " 200 OK" not in text)
    done = hammer.answers.total() + len(hammer.failures)
    return Proof(done, len(hammer.failures), seen, reloads, accepted)


@dataclass(frozen=True)
class Steady:
    """A service with lanes, compared with one without: medians, and the ratio of each pair."""

    rates: tuple[float, float]  # requests per second, without and with
    p99s: tuple[float, float]  # seconds
    rate_ratios: tuple[float, ...]
    p99_ratios: tuple[float, ...]
    failures: int


def steady(server: Server, pairs: int, seconds: float) -> Steady:
    """New connections to both, in `pairs` pairs of runs."""
    runs: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    failures = 0
    with temporary() as one, temporary() as other:
        shared, steered = deploy(server, one), deploy(server, other, LANES)
        with shared.service, steered.service:
            targets = {False: shared.address.target, True: steered.address.target}
            for deployment in (shared, steered):
                deployment.service.wait_ready()
            for number in range(pairs):
                # Take turns in going first.
                for lanes in (False, True) if number % 2 == 0 else (True, False):
                    report = _load(targets[lanes], seconds)
                    total = report.total()
                    failures += report.failures()
                    times = total.quantiles()
                    ends = map(sum, zip(total.started, total.seconds, strict=True))
                    rate = times.count / (max(ends) - min(total.started))
                    runs[lanes].append((rate, times.p99))
    rates, p99s = (_medians(runs, place) for place in (0, 1))
    ratios = [_ratios(runs, place) for place in (0, 1)]
    return Steady(rates, p99s, ratios[0], ratios[1], failures)


def _load(target: str, seconds: float) -> Report:
    with LoadProcess(Plan(target, CLIENTS, LONGEST)) as load:
        load.wait_started()
        pause(seconds)
        return load.stop()


def _medians(runs: dict[bool, list[tuple[float, float]]], place: int) -> tuple[float, float]:
    without, with_lanes = (statistics.median(run[place] for run in runs[x]) for x in (False, True))
    return without, with_lanes


def _ratios(runs: dict[bool, list[tuple[float, float]]], place: int) -> tuple[float, ...]:
    pairs = zip(runs[False], runs[True], strict=True)
    return tuple(there[place] / here[place] for here, there in pairs)


SERVERS = tuple(zoo.BY_NAME[name] for name in ("uvicorn uvloop", "accept loop, threads"))
