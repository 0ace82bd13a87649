"""One server of the zoo under sockact: load, reload after reload with a new version, and what the
clients saw of it. Used by the tests and the demonstration.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.exchange import Failed
from bench.load import Load, Plan, keeps
from bench.process import LoadProcess
from bench.tally import Report, Window
from sockact.handover import gate
from sockact.kernel import procfs
from tests.servers import zoo
from tests.support import wait
from tests.support.deployment import Deployment, deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.servers.zoo import Server
    from tests.support.service import Outcome, Service

# A sequential server may have to finish the streamed answers of two clients first.
SWITCH_TIMEOUT = 45.0
# Longer than sockact's own deadline, so that what it cuts short is seen.
DRAIN_TIMEOUT = 90.0
# What the supervisor says when a generation did not end by itself.
FORCED = re.compile(r", sending SIGKILL|the drain timeout of .* is over")
# No load runs longer than this, whatever happens to its parent.
LONGEST = 600.0


@dataclass(frozen=True)
class Round:
    """One reload: what was published, how the reload ended, who answered the next new client."""

    version: str
    outcome: Outcome
    first: str  # the version of the first answer after the reload
    seen: bool  # whether the published version answered at all

    @property
    def window(self) -> Window:
        """When it was under way."""
        return self.outcome.started, self.outcome.ended


@dataclass
class Trial:
    """What came of it."""

    server: Server
    report: Report = field(default_factory=Report)
    rounds: list[Round] = field(default_factory=list)
    broken: Round | None = None
    exit_code: int = -1
    stderr: str = ""
    # How it waits for clients, and whether it keeps their connections while nobody reloads it.
    gate: zoo.Gate | None = None
    keeps: bool = False
    # What status said of the gates of draining generations: `closed`, or `none` with its reason.
    gates: set[str] = field(default_factory=set)

    @property
    def windows(self) -> list[Window]:
        """When reloads were under way."""
        return [one.window for one in self.rounds]

    def problems(self) -> list[str]:
        """All that is not as promised; empty when every promise was kept."""
        found = []
        if self.report.failures():
            found.append(self.report.explain())
        for one in self.rounds:
            if one.outcome.code != 0:
                found.append(f"reload to {one.version} failed: {one.outcome.stderr.strip()}")
            elif not one.seen:
                found.append(f"version {one.version} never answered, {one.first} did")
        if self.broken is not None:
            found += _accepted(self.broken)
        found += self._differences()
        if self.exit_code != 0:
            found.append(f"stopped with exit code {self.exit_code}")
        if forced := [line for line in self.stderr.splitlines() if FORCED.search(line)]:
            found.append(f"not drained in time: {forced[0]}")
        return found

    def _differences(self) -> list[str]:
        """What is not as the zoo says."""
        found = [f"a gate was not closed: {gate}" for gate in self.gates if gate.startswith("none")]
        if self.gate is not self.server.gate:
            found.append(f"its gate is {self.gate}, not {self.server.gate}")
        kept = self.server.keep_alive not in (zoo.CLOSES, zoo.NONE)
        if self.keeps is not kept:
            found.append(f"that it keeps connections is {self.keeps}, not {kept}")
        return found


def _accepted(broken: Round) -> list[str]:
    found = []
    if broken.outcome.code == 0:
        found.append("the broken version was not refused")
    # One line with the reason, then what the program said, which may be long after its cause.
    if len(broken.outcome.stderr.splitlines()) < 2:
        found.append(f"the refusal does not say why: {broken.outcome.stderr.strip()!r}")
    if broken.first == broken.version:
        found.append("the broken version answered")
    return found


def run_trial(
    server: Server,
    folder: Path,
    reloads: int,
    *,
    loads: Sequence[Load] = (),
    broken: bool = False,
    steady: float = 0.0,
    options: Sequence[str] = (),
    settings: Sequence[str] = (),
    import_seconds: float = 0.0,
    launcher: Sequence[str] = (),
    say: Callable[[str], None] = lambda text: None,
) -> Trial:
    """Start it, load it, reload it so often, with `broken` once more in vain, and stop it.

    `steady` is the time in seconds that it is left alone before each reload, `options` are for
    `sockact reload`, `settings` for `sockact run`, and `launcher` is a command that executes the
    supervisor in some way.
    """
    trial = Trial(server)
    deployment = deploy(server, folder, settings, import_seconds, launcher)
    with deployment.service as service:
        service.wait_ready()
        trial.gate = waits_in(service)
        if server.keep_alive != zoo.NONE:
            trial.keeps = asyncio.run(keeps(deployment.address.target))
        plan = Plan(deployment.address.target, tuple(loads) or server.loads, LONGEST)
        with LoadProcess(plan) as load:
            load.wait_started(SWITCH_TIMEOUT)
            for number in range(2, reloads + 2):
                pause(steady)
                trial.rounds.append(_reload(deployment, str(number), options))
                say(_describe(trial.rounds[-1]))
            if broken:
                pause(steady)
                trial.broken = _reload_broken(deployment, str(reloads + 2))
                say(f"version {reloads + 2} is broken: {trial.broken.outcome.stderr.strip()}")
            # The load goes on until the last predecessor has gone: ending it is the hard part.
            wait.until(
                lambda: _drained(service, trial), "the predecessors to be drained", DRAIN_TIMEOUT
            )
            trial.report = load.stop()
        trial.exit_code = service.stop()
        trial.stderr = service.stderr
    return trial


def waits_in(service: Service) -> zoo.Gate:
    """How the program waits for clients: with a listener in epoll, or in another way."""
    status = service.status()
    ours = set(procfs.sockets(status["pid"]).values())
    pids = status["generations"][0]["pids"]
    return zoo.Gate.EPOLL if gate.entries(pids, ours) else zoo.Gate.SHIM


def _drained(service: Service, trial: Trial) -> bool:
    """Is only the running generation left? Notes the gates of those that drain."""
    found = [one for one in service.status()["generations"] if one["state"] == "draining"]
    trial.gates.update(f"{one['gate']} {one['gate_reason']}".strip() for one in found)
    return not found


def _describe(one: Round) -> str:
    return f"version {one.version}: reload took {one.outcome.seconds:.2f} s"


def pause(seconds: float) -> None:
    """Let the load run undisturbed, to have something to compare the reloads with."""
    threading.Event().wait(seconds)


def _reload(deployment: Deployment, version: str, options: Sequence[str]) -> Round:
    deployment.releases.publish(version)
    outcome = deployment.service.reload(*options)
    first = seen = deployment.version(SWITCH_TIMEOUT)
    deadline = time.monotonic() + SWITCH_TIMEOUT
    while outcome.code == 0 and seen != version and time.monotonic() < deadline:
        try:
            seen = deployment.version(SWITCH_TIMEOUT)
        except (OSError, Failed) as error:
            seen = f"({error})"
    return Round(version, outcome, first, seen == version)


def _reload_broken(deployment: Deployment, version: str) -> Round:
    deployment.releases.publish_broken(version)
    outcome = deployment.service.reload()
    return Round(version, outcome, deployment.version(SWITCH_TIMEOUT), seen=False)
