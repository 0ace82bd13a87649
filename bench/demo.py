"""Demonstration: stock servers under load, ten reloads each, and what clients notice.

    make demo        (or: python -m bench.demo [--reloads 10])

Exit status 0: no request failed, and the broken version was rejected.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

from bench.load import Kind, Load
from bench.table import milliseconds, render
from bench.tally import Failure, Tally
from bench.trial import Trial, run_trial
from tests.servers import zoo

# Every client pauses: without pauses a client keeps a CPU busy, and on a machine with two CPUs the
# time that it waits for one would look like latency of the server.
CLIENTS = (
    Load(Kind.NEW, 6, pause=0.005),
    Load(Kind.KEEP_ALIVE, 1, pause=0.001),
    Load(Kind.KEEP_ALIVE, 2, pause=0.005),
    Load(Kind.KEEP_ALIVE, 2, pause=0.05),
)
# http.server has no slow answers of its own; clients that read slowly and CGI scripts stand in.
SHOWS: tuple[tuple[str, tuple[Load, ...]], ...] = (
    ("http.server 1.1", (*CLIENTS, Load(Kind.READ_SLOWLY, 2))),
    *((("http.server cgi", zoo.CGI),) if zoo.HAS_CGI else ()),
    ("uvicorn uvloop", (*CLIENTS, Load(Kind.SLOW, 3), Load(Kind.STREAM, 3))),
)

HEAD = (
    "server",
    "load",
    "requests",
    *(failure.value for failure in Failure),
    "versions",
    "median",
    "p99",
    "median in reload",
    "p99 in reload",
)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def show(name: str, loads: tuple[Load, ...], reloads: int) -> Trial:
    """Demonstrate one server, from start to stop."""
    server = zoo.BY_NAME[name]
    folder = Path(tempfile.mkdtemp(prefix="sockact-"))
    folder.chmod(0o755)
    example = server.command(server.address(folder, 8000))
    say(f"\n== {name}: sockact run --directory current -- {' '.join(example)}")
    try:
        return run_trial(
            server,
            folder,
            reloads,
            loads=loads,
            broken=True,
            steady=1.0,
            say=lambda t: say(f"  {t}"),
        )
    finally:
        shutil.rmtree(folder)


def row(trial: Trial, label: str, tally: Tally) -> list[str]:
    """The row of one load of one server."""
    steady, during = tally.split(trial.windows)
    return [
        trial.server.name,
        label,
        str(tally.requests),
        *(str(tally.failures[failure]) for failure in Failure),
        str(len(tally.versions)),
        *(milliseconds(time) if steady.count else "-" for time in (steady.p50, steady.p99)),
        *(milliseconds(time) if during.count else "-" for time in (during.p50, during.p99)),
    ]


def summary(trial: Trial) -> str:
    """The times of the reloads, and whether the broken version was rejected."""
    seconds = [one.outcome.seconds for one in trial.rounds if one.outcome.code == 0]
    times = "no reload succeeded"
    if seconds:
        middle, longest = statistics.median(seconds), max(seconds)
        times = f"{len(seconds)} reloads, median {middle:.2f} s, longest {longest:.2f} s"
    rejected = trial.broken is not None and trial.broken.outcome.code != 0
    return f"{trial.server.name}: {times}; broken version {'rejected' if rejected else 'ACCEPTED'}"


def main() -> int:
    """Run all demonstrations. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m bench.demo", description=__doc__)
    parser.add_argument("--reloads", type=int, default=10)
    reloads = parser.parse_args().reloads
    trials = [show(name, loads, reloads) for name, loads in SHOWS]
    rows = [row(one, label, tally) for one in trials for label, tally in one.report.tallies.items()]
    say("\n" + render(HEAD, rows) + "\n")
    for trial in trials:
        say(summary(trial))
    problems = [f"{one.server.name}: {text}" for one in trials for text in one.problems()]
    for problem in problems:
        say("PROBLEM: " + problem)
    requests = sum(one.report.total().requests for one in trials)
    failures = sum(one.report.failures() for one in trials)
    say(f"\n{requests} requests, {failures} failures, {len(problems)} problems")
    return 1 if problems or failures else 0


if __name__ == "__main__":
    sys.exit(main())
