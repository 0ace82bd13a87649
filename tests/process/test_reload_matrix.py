"""Every server of the zoo is reloaded under load, the last time with a version that cannot start,
and no client may notice.

By default two reloads each, to keep the suite short; SOCKACT_RELOADS=10 (`make matrix`) runs all
and prints the table. The trials wait more than they work, so some run at a time, in threads that
only watch their processes.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import tempfile
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bench.table import milliseconds, render
from bench.trial import Trial, run_trial
from tests.servers.zoo import SERVERS, Server
from tests.support import leaks

if TYPE_CHECKING:
    from collections.abc import Iterator

RELOADS = int(os.environ.get("SOCKACT_RELOADS", "2"))
JOBS = int(os.environ.get("SOCKACT_JOBS", "4"))

pytestmark = [
    pytest.mark.concurrent,
    pytest.mark.slow,
    pytest.mark.timeout(120 + 60 * RELOADS),
]


def missing(server: Server) -> list[str]:
    """The packages that a server needs and that are not installed."""
    return [name for name in server.packages if importlib.util.find_spec(name) is None]


def trial(server: Server) -> Trial:
    """Run one in a folder of its own; nothing may be left in it."""
    folder = Path(tempfile.mkdtemp(prefix="sockact-"))
    folder.chmod(0o755)
    try:
        # In the full run the reloads are spread out, so that answers of every kind and age are
        # under way at each.
        steady = 1.5 if RELOADS > 2 else 0.0
        done = run_trial(server, folder, RELOADS, broken=True, steady=steady)
        left = [path for path in leaks.socket_files(folder) if path.name != "gunicorn.ctl"]
        assert not left, f"left behind: {left}"
        return done
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def trials(request: pytest.FixtureRequest, tables: list[str]) -> Iterator[dict[str, Future[Trial]]]:
    """The trials of the selected tests, under way; checks for leaks when all are done."""
    wanted = [one for one in _selected(request) if not missing(one)]
    with leaks.nothing_left(), ThreadPoolExecutor(JOBS) as pool:
        futures = {server.name: pool.submit(trial, server) for server in wanted}
        yield futures
        for future in futures.values():
            future.cancel()
    done = [future.result() for future in futures.values() if _succeeded(future)]
    if RELOADS > 2:
        tables.append(table(done))


def _selected(request: pytest.FixtureRequest) -> list[Server]:
    parameters = [
        item.callspec.params["server"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.module is request.module
    ]
    return [server for server in parameters if isinstance(server, Server)]


def _succeeded(future: Future[Trial]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def table(done: list[Trial]) -> str:
    """Server by kind of load: requests, failures, and how long answers took."""
    rows = []
    for one in done:
        for label, tally in one.report.tallies.items():
            steady, during = tally.split(one.windows)
            rows.append(
                [
                    one.server.name,
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


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server.name.replace(" ", "-"))
def test_no_client_notices_a_reload(server: Server, trials: dict[str, Future[Trial]]) -> None:
    if names := missing(server):
        pytest.skip(f"not installed: {', '.join(names)}")
    done = trials[server.name].result()
    problems = done.problems()
    assert not problems, "\n".join([*problems, done.stderr[-2000:]])
    assert len(done.rounds) == RELOADS
    # Every version that was put on disk was seen, by the load or by the client after the reload.
    published = {str(number) for number in range(1, RELOADS + 2)}
    seen = set(done.report.total().versions) | {one.first for one in done.rounds}
    assert published == seen
