"""Every server of the zoo is reloaded under load, the last time with a version that cannot start,
and no client may notice.

By default two reloads each, to keep the suite short; clients that are silent for 15, 20 or 40 s
are silent for 4 s only, and those with short requests send some 50 per second. SOCKACT_RELOADS=10
(`make matrix`) runs all, as fast and as long as they are, and prints the table. The trials wait
more than they work, so some run at a time, in threads that only watch their processes.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench.bare import temporary
from bench.load import Kind, Load
from bench.table import milliseconds, render
from bench.tally import Failure
from bench.trial import Trial, gate_of, run_trial
from tests.servers.zoo import CANNOT, KEEP_ALIVE, SERVERS, Gate, Server
from tests.support import leaks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

RELOADS = int(os.environ.get("SOCKACT_RELOADS", "2"))
BRIEF = 4.0  # seconds: more than --quiet-after
PAUSE = 0.02  # seconds
# Sockets that a server leaves by itself: gunicorn's control socket.
EXPECTED = ("gunicorn.ctl",)
# The other trial of the servers that cannot announce a close, and the test that is about it.
KEPT = "kept connections of "
KEPT_TEST = "test_what_a_kept_connection_notices"
JOBS = int(os.environ.get("SOCKACT_JOBS", "4"))

pytestmark = [
    pytest.mark.concurrent,
    pytest.mark.slow,
    pytest.mark.timeout(120 + 60 * RELOADS),
]


def trial(server: Server) -> Trial:
    """Run one in its own directory; nothing may be left there."""
    steady, loads = 0.0, tuple(brief(load) for load in server.loads)
    if RELOADS > 2:
        # The reloads are spread out, so that answers of every kind and age are under way at each.
        loads = server.loads
        steady = max(1.5, *(load.silence / 4 for load in loads))
    with temporary() as folder:
        done = run_trial(server, folder, RELOADS, loads=loads, broken=True, steady=steady)
        left = [path for path in leaks.socket_files(folder) if path.name not in EXPECTED]
        assert not left, f"left behind: {left}"
    return done


def brief(load: Load) -> Load:
    """With a shorter silence, in which its connection is taken for an idle one all the same, and
    fewer requests: each of the trials that run at a time would use a whole CPU.
    """
    return replace(load, silence=min(load.silence, BRIEF), pause=max(load.pause, PAUSE))


def kept(server: Server) -> Trial:
    """The clients that keep their connections, at a server that cannot tell them to leave."""
    loads = (Load(Kind.NEW, 2, pause=0.005), *KEEP_ALIVE)
    with temporary() as folder:
        # They stay until the drain's deadline; nobody has to wait long for that.
        return run_trial(server, folder, RELOADS, loads=loads, settings=("--drain-timeout", "1"))


@pytest.fixture(scope="module")
def trials(request: pytest.FixtureRequest, tables: list[str]) -> Iterator[dict[str, Future[Trial]]]:
    """The trials of the selected tests, under way; checks for leaks when all are done."""
    with leaks.nothing_left(), ThreadPoolExecutor(JOBS) as pool:
        futures = {
            key: pool.submit(kept if key.startswith(KEPT) else trial, server)
            for key, server in _selected(request).items()
            if not server.missing()
        }
        yield futures
        for future in futures.values():
            future.cancel()
    done = {name: future.result() for name, future in futures.items() if _succeeded(future)}
    if RELOADS > 2:
        tables.append(table(done))


def _selected(request: pytest.FixtureRequest) -> dict[str, Server]:
    """The trials that the selected tests ask for."""
    found = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.module is request.module:
            server = item.callspec.params["server"]
            assert isinstance(server, Server)
            prefix = KEPT if item.originalname == KEPT_TEST else ""
            found[prefix + server.name] = server
    return found


def _succeeded(future: Future[Trial]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def table(done: dict[str, Trial]) -> str:
    """Server by kind of load: requests, failures, and how long answers took."""
    rows = []
    for name, one in done.items():
        for label, tally in one.report.tallies.items():
            steady, during = tally.split(one.windows)
            rows.append(
                [
                    name,
                    label,
                    str(tally.requests),
                    str(sum(tally.failures.values())),
                    str(len(tally.versions)),
                    milliseconds(steady.p50),
                    milliseconds(steady.p99),
                    milliseconds(during.p99),
                ]
            )
    head = ["server", "load", "requests", "failures", "versions", "p50", "p99", "p99 in reloads"]
    return render(head, rows)


def named(servers: Iterable[Server]) -> pytest.MarkDecorator:
    """One test for each server."""
    ids = lambda server: server.name.replace(" ", "-")  # noqa: E731
    return pytest.mark.parametrize("server", list(servers), ids=ids)


def need(server: Server) -> None:
    """Fail, or skip the test, if the server is not installed."""
    if names := server.missing():
        say = pytest.skip if server.optional else pytest.fail
        say(f"not installed: {', '.join(names)}; see bench/setup.sh")


@named(SERVERS)
def test_no_client_notices_a_reload(server: Server, trials: dict[str, Future[Trial]]) -> None:
    need(server)
    done = trials[server.name].result()
    problems = done.problems()
    assert not problems, "\n".join([*problems, done.stderr[-2000:]])
    assert len(done.rounds) == RELOADS
    # Every version that was put on disk was seen, by the load or by the client after the reload.
    published = {str(number) for number in range(1, RELOADS + 2)}
    seen = set(done.report.total().versions) | {one.first for one in done.rounds}
    assert published == seen


# With lanes, clients that keep their connections notice the same: only in `make matrix`.
@named(
    one
    for one in SERVERS
    if one.keep_alive == CANNOT and (gate_of(one) is not Gate.LANE or RELOADS > 2)
)
def test_what_a_kept_connection_notices(server: Server, trials: dict[str, Future[Trial]]) -> None:
    """Each is closed unannounced at most once for a reload, and that is all that fails."""
    need(server)
    done = trials[KEPT + server.name].result()
    assert [one.outcome.code for one in done.rounds] == [0] * RELOADS
    tallies = done.report.tallies
    assert not tallies[Kind.NEW.value].failures, done.report.explain()
    for load in KEEP_ALIVE:
        failures = tallies[load.label].failures
        assert set(failures) <= {Failure.EOF, Failure.RESET}, done.report.explain()
        assert failures.total() <= load.clients * RELOADS, done.report.explain()
