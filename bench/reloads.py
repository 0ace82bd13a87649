"""What clients notice of reloads: sockact and today's other ways, under the same load."""

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
# Only short answers, so that a drain is short and its end belongs to the window of the reload.
SHORT_LOADS = LOADS[:2]
NEW_LOADS = LOADS[:1]
STEADY = 2.0
INTERVAL = 0.01  # between two short requests of a client: its pause and the answer


@dataclass
class Row:
    """One way to reload: its report, and when reloads were under way."""

    name: str
    report: Report = field(default_factory=Report)
    windows: list[Window] = field(default_factory=list)
    remark: str = ""

    def per_10000(self) -> float:
        """Failed requests in 10,000."""
        requests = self.report.total().requests
        return 10_000 * self.report.failures() / requests if requests else 0.0

    def latency(self) -> tuple[Quantiles, Quantiles]:
        """Of the short requests: steady, and during reloads."""
        short = Report()
        for label, tally in self.report.tallies.items():
            if not label.startswith((Kind.SLOW.value, Kind.STREAM.value)):
                short.tally("short").merge(tally)
        return short.tally("short").split(self.windows, INTERVAL)

    def ratio(self) -> float:
        """p99 during reloads over p99 in steady state."""
        steady, during = self.latency()
        return during.p99 / steady.p99 if steady.p99 else 0.0


def wrapped(name: str, reloads: int, loads: tuple[Load, ...], *options: str) -> Row:
    """A server of the zoo under sockact."""
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
    """The same load and the same releases for another way to reload."""
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
