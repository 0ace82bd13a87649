"""A load in a process of its own.

The child reads a pickled Plan from its standard input, writes one line when every client is
running, stops when its input ends, and writes the pickled Report.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pickle
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from bench.load import Kind, Load, Plan, run
from bench.tally import Report

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent
STARTED = b"started\n"


class LoadProcess:
    """A child process with a load: construct, `wait_started`, `stop` (returns the report)."""

    def __init__(self, plan: Plan, launcher: Sequence[str] = ()) -> None:
        """`launcher` is a command that runs the child, in a namespace for example."""
        self._plan = plan
        self._report: Report | None = None
        self._process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "bench.process", "--child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._process.stdin is not None
        pickle.dump(plan, self._process.stdin)
        self._process.stdin.flush()

    def __enter__(self) -> LoadProcess:
        return self

    def __exit__(self, *_error: object) -> None:
        if self._report is None:
            self._process.kill()
        self._close()

    def wait_started(self, timeout: float = 20.0) -> None:
        """Wait until each client with short requests has an answer, and all others are running.

        Raises TimeoutError with the failures.
        """
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout)
        if not ready or self._process.stdout.readline() != STARTED:
            raise TimeoutError(f"the load did not start:\n{self.stop().explain()}")

    def stop(self) -> Report:
        """Let every client finish its request; return their results."""
        if self._report is None:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self._process.stdin.close()
            self._report = _load_report(self._process.stdout)
            self._close()
        return self._report

    def _close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait()


def _load_report(pipe: IO[bytes]) -> Report:
    data = pipe.read().removeprefix(STARTED)
    if not data:
        raise RuntimeError("the load's process died; its reason is on standard error")
    report = pickle.loads(data)
    assert isinstance(report, Report)
    return report


async def _child() -> None:
    """Run the plan from standard input until standard input ends."""
    plan = pickle.load(sys.stdin.buffer)
    stop, started = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop_reading() -> None:
        # End of file stays readable: without this the loop would spin until the last answer.
        loop.remove_reader(sys.stdin.fileno())
        stop.set()

    loop.add_reader(sys.stdin.fileno(), stop_reading)

    async def announce() -> None:
        await started.wait()
        sys.stdout.buffer.write(STARTED)
        sys.stdout.buffer.flush()

    announcer = asyncio.create_task(announce())
    report = await run(plan, stop, started)
    announcer.cancel()
    sys.stdout.buffer.write(pickle.dumps(report))
    sys.stdout.buffer.flush()


def parse_load(text: str) -> Load:
    """`KIND:CLIENTS[:PAUSE]`, as in `keep-alive:4:0.005`. Raises ValueError."""
    kind, _, rest = text.partition(":")
    number, _, pause = rest.partition(":")
    return Load(Kind(kind), int(number or 1), float(pause or 0))


def main() -> int:
    """Run a load from the command line. Exit status 0: no request failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.process", description=__doc__)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("target", nargs="?", help="HOST:PORT, [HOST]:PORT or a path")
    parser.add_argument("loads", nargs="*", type=parse_load, metavar="KIND:CLIENTS[:PAUSE]")
    options = parser.parse_intermixed_args()
    if options.child:
        asyncio.run(_child())
        return 0
    if not options.target or not options.loads:
        parser.error("a target and at least one load are required")
    plan = Plan(options.target, tuple(options.loads), options.seconds)
    began = time.monotonic()
    report = asyncio.run(run(plan, asyncio.Event()))
    _print(report, time.monotonic() - began)
    return 1 if report.failures() else 0


def _print(report: Report, seconds: float) -> None:
    out = sys.stdout
    for label, tally in report.tallies.items():
        times = tally.quantiles()
        out.write(
            f"{label}: {tally.requests} requests, {tally.requests / seconds:.0f} per second, "
            f"{sum(tally.failures.values())} failed, p50 {times.p50 * 1000:.2f} ms, "
            f"p99 {times.p99 * 1000:.2f} ms, versions {dict(tally.versions)}\n"
        )
    if report.failures():
        out.write(report.explain() + "\n")


if __name__ == "__main__":
    sys.exit(main())
