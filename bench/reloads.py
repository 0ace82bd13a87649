"""Reloads under load, by sockact and by other means, as clients see them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.bare import temporary
from bench.load import Kind, Load, Plan
from bench.peers import IMPORT_SECONDS, SWITCH_TIMEOUT
from bench.process import LoadProcess
from bench.tally import Quantiles, Report, Window
from bench.trial import LONGEST, pause, run_trial
from tests.servers import zoo
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.peers import Peer

LOADS = (
    Load(Kind.NEW, 6, pause=0.005),
    Load(Kind.KEEP_ALIVE, 2, pause=0.005),
    Load(Kind.SLOW, 2),
    Load(Kind.STREAM, 2),
)
# Only short answers, so that the drain ends within the window of the reload.
SHORT_LOADS = LOADS[:2]
NEW_LOADS = LOADS[:1]
STEADY = 2.0
INTERVAL = 0.01  # between two short requests of a client: the pause and the answer


@dataclass
class Row:
    """Results of one way to reload, and when each reload began and ended."""

    name: str
    report: Report = field(default_factory=Report)
    windows: list[Window] = field(default_factory=list)
    remark: str = ""

    def per_10000(self) -> float:
        """Failures per 10,000 requests."""
        requests = self.report.total().requests
        return 10_000 * self.report.failures() / requests if requests else 0.0

    def latency(self) -> tuple[Quantiles, Quantiles]:
        """Latency of short requests between reloads, and during reloads."""
        short = Report()
        for label, tally in self.report.tallies.items():
            if not label.startswith((Kind.SLOW.value, Kind.STREAM.value)):
                short.tally("short").merge(tally)
        return short.tally("short").split(self.windows, INTERVAL)

    def ratio(self) -> float:
        """p99 during reloads divided by p99 between reloads."""
        steady, during = self.latency()
        return during.p99 / steady.p99 if steady.p99 else 0.0


def wrapped(name: str, reloads: int, loads: tuple[Load, ...], *options: str) -> Row:
    """Reloads of a server by sockact."""
    with temporary() as folder:
        trial = run_trial(
            zoo.BY_NAME[name],
            folder,
            reloads,
            loads=loads,
            steady=STEADY,
            options=options,
            import_seconds=IMPORT_SECONDS,
        )
    remark = "" if not trial.problems() else trial.problems()[0].splitlines()[0]
    return Row(f"sockact, {name}", trial.report, trial.windows, remark)


def peer(kind: type[Peer], reloads: int) -> Row:
    """Reloads by other means, with the same load and the same releases."""
    if missing := kind.available():
        return Row(kind.name, remark=missing)
    row = Row(kind.name)
    with temporary() as folder:
        one = kind(folder)
        try:
            one.running.wait_ready()
            with LoadProcess(Plan(one.address.target, LOADS, LONGEST)) as load:
                load.wait_started()
                try:
                    for number in range(2, reloads + 2):
                        pause(STEADY)
                        row.windows.append(_reload(one, str(number)))
                    pause(STEADY)
                except TimeoutError as error:
                    row.remark = str(error)
                row.report = load.stop()
        finally:
            one.close()
    return row


def _reload(one: Peer, wanted: str) -> Window:
    one.releases.publish(wanted)
    began = time.monotonic()
    one.reload()
    done: Callable[[], bool] = lambda: one.answers(wanted)  # noqa: E731
    wait.until(done, f"version {wanted}", SWITCH_TIMEOUT)
    return began, time.monotonic()
