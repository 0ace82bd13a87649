"""What clients notice of reloads: sockact and today's other ways, under the same load."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.bare import Bare, temporary, version
from bench.load import Kind, Load, Plan
from bench.process import LoadProcess
from bench.tally import Quantiles, Report, Window
from bench.trial import LONGEST, pause, run_trial
from tests.servers import zoo
from tests.servers.commands import ASGI
from tests.support import wait
from tests.support.deployment import choose

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
# What an application of some size needs; a way to reload that serves nobody meanwhile shows it.
IMPORT_SECONDS = 0.5
INTERVAL = 0.01  # between two short requests of a client: its pause and the answer
SETTLED = 10  # answers of the new version in a row
SWITCH_TIMEOUT = 30.0


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


class Peer:
    """Another way to bring a new version into service."""

    name = ""
    server = ""

    def __init__(self, folder: Path) -> None:
        self.zoo = zoo.BY_NAME[self.server]
        self.address, self.releases = choose(self.zoo, folder, IMPORT_SECONDS)
        self.running = Bare(self.zoo, self.address, self.releases, self.command())

    @classmethod
    def available(cls) -> str:
        """Empty, or what is missing."""
        return ""

    def command(self) -> list[str]:
        """Its own command line."""
        return self.zoo.command(self.address)

    def reload(self) -> None:
        """Bring the current release into service."""
        raise NotImplementedError

    def answers(self, wanted: str) -> bool:
        """Whether so many new clients in a row get that version."""
        return all(version(self.zoo, self.address) == wanted for _ in range(SETTLED))

    def close(self) -> None:
        """Stop it."""
        self.running.close()


class Restart(Peer):
    """Stop it, start it: what most units do."""

    name = "stop and start, waitress"
    server = "waitress"

    def reload(self) -> None:
        self.running.close()
        self.running = Bare(self.zoo, self.address, self.releases, self.command())


class GunicornHup(Peer):
    """gunicorn's reload."""

    name = "HUP, gunicorn gthread"
    server = "gunicorn gthread"

    def reload(self) -> None:
        self.running.process.send_signal(signal.SIGHUP)


class GunicornUsr2(Peer):
    """gunicorn's upgrade: a second master beside the first, which is then told to end."""

    name = "USR2, gunicorn gthread"
    server = "gunicorn gthread"
    master = 0

    def command(self) -> list[str]:
        return [*super().command(), "--pid", str(self.pidfile)]

    @property
    def pidfile(self) -> Path:
        """Of the master; the second master appends `.2` until the first has ended."""
        return self.releases.folder / "pid"

    def reload(self) -> None:
        self.master = self.master or self.running.process.pid
        os.kill(self.master, signal.SIGUSR2)
        second = self.pidfile.with_name("pid.2")
        wait.until(second.exists, "the second master", SWITCH_TIMEOUT)
        new = wait.until(lambda: second.read_text().strip(), "its pid", SWITCH_TIMEOUT)
        # As the documentation says: look whether the new workers serve, then end the old master.
        wanted = self.releases.current.resolve().name
        fresh = lambda: version(self.zoo, self.address) == wanted  # noqa: E731
        wait.until(fresh, "a new worker", SWITCH_TIMEOUT)
        os.kill(self.master, signal.SIGTERM)
        if self.master == self.running.process.pid:
            self.running.process.wait(SWITCH_TIMEOUT + 10)
        wait.until(lambda: not second.exists(), "the first master to end", SWITCH_TIMEOUT + 10)
        self.master = int(new)

    def close(self) -> None:
        if self.master and self.master != self.running.process.pid:
            os.kill(self.master, signal.SIGTERM)
            wait.ended(self.master, 30.0)
        super().close()


class ServerStarter(Peer):
    """Server::Starter holds the socket and overlaps two workers; uvicorn takes the fd."""

    name = "Server::Starter, uvicorn"
    server = "uvicorn asyncio"

    @classmethod
    def available(cls) -> str:
        return "" if shutil.which("start_server") else "Server::Starter is not installed"

    def command(self) -> list[str]:
        port = f"--port={self.address.target}=3"
        worker = ["uvicorn", "--fd", "3", "--loop", "asyncio", "--no-access-log", ASGI]
        # Each worker enters the release that is current then.
        enter = ["env", "-C", str(self.zoo.directory(self.releases))]
        return ["start_server", port, "--", *enter, *worker]

    def reload(self) -> None:
        self.running.process.send_signal(signal.SIGHUP)


PEERS: tuple[type[Peer], ...] = (Restart, GunicornHup, GunicornUsr2, ServerStarter)


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
