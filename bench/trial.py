"""One server under sockact: reloads under load, each with a new version, and what clients notice.

Used by the tests and the demonstration.
"""

from __future__ import annotations

import asyncio
import os
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
from tests.servers.commands import Transport
from tests.support import wait
from tests.support.deployment import Deployment, deploy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.servers.zoo import Server
    from tests.support.service import Outcome, Service

# A server that answers one request at a time may have to finish two streamed answers first.
SWITCH_TIMEOUT = 45.0
# Longer than sockact's own deadline, so that cut connections are noticed.
DRAIN_TIMEOUT = 90.0
# What the supervisor says when a generation did not end by itself.
EXPIRED = r"the drain timeout of .* expired"
KILLED = r", sending SIGKILL"
# No load runs longer than this, whatever happens to its parent.
LONGEST = 600.0


@dataclass(frozen=True)
class Round:
    """One reload: the published version, its outcome, and the version that answered afterwards."""

    version: str
    outcome: Outcome
    first: str  # the version of the first answer after the reload
    seen: bool  # whether the published version answered at all

    @property
    def window(self) -> Window:
        """When the reload began and ended."""
        return self.outcome.started, self.outcome.ended


@dataclass
class Trial:
    """The result of a trial."""

    server: Server
    report: Report = field(default_factory=Report)
    rounds: list[Round] = field(default_factory=list)
    broken: Round | None = None
    exit_code: int = -1
    stderr: str = ""
    # How the server waits for clients, and whether it keeps connections between reloads.
    gate: zoo.Gate | None = None
    keeps: bool = False
    # The gates of draining generations in the status: `closed`, or `none` with the reason.
    gates: set[str] = field(default_factory=set)

    @property
    def windows(self) -> list[Window]:
        """When each reload began and ended."""
        return [one.window for one in self.rounds]

    def problems(self) -> list[str]:
        """All broken promises; empty if there are none."""
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
            found.append(f"stopped with exit status {self.exit_code}")
        late = KILLED if self.server.stays else f"{KILLED}|{EXPIRED}"
        if forced := [line for line in self.stderr.splitlines() if re.search(late, line)]:
            found.append(f"not drained in time: {forced[0]}")
        return found

    def _differences(self) -> list[str]:
        """Differences from what the list of servers says."""
        found = []
        wanted = gate_of(self.server)
        if wanted is not zoo.Gate.NONE:
            found += [f"gate not closed: {gate}" for gate in self.gates if gate.startswith("none")]
        if self.gate is not wanted:
            found.append(f"the gate is {self.gate}, not {wanted}")
        kept = self.server.keep_alive not in (zoo.CLOSES, zoo.NONE)
        if self.keeps is not kept:
            found.append(f"keeps connections: {self.keeps}, not {kept}")
        return found


def _accepted(broken: Round) -> list[str]:
    found = []
    if broken.outcome.code == 0:
        found.append("the broken version was not rejected")
    # One line with the reason, then the output of the program.
    if len(broken.outcome.stderr.splitlines()) < 2:
        found.append(f"the error has no reason: {broken.outcome.stderr.strip()!r}")
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
    """Start a server, put load on it, reload it `reloads` times, and stop it.

    `broken`: reload once more, with a version that cannot start. `steady`: seconds without a reload
    before each reload. `options` are for `sockact reload`, `settings` for `sockact run`.
    `launcher` is a command that runs the supervisor.
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
            # The load continues until the last drain is over: the end of a drain is the hard part.
            wait.until(lambda: _drained(service, trial), "the end of all drains", DRAIN_TIMEOUT)
            trial.report = load.stop()
        trial.exit_code = service.stop()
        trial.stderr = service.stderr
    return trial


def gate_of(server: Server) -> zoo.Gate:
    """How its gate is to be closed. $SOCKACT_LANES is the value of --lanes where none is given."""
    named = "--lanes" in server.settings or server.transport is Transport.UNIX
    return (
        server.gate if named or os.environ.get("SOCKACT_LANES", "off") == "off" else zoo.Gate.LANE
    )


def waits_in(service: Service) -> zoo.Gate:
    """How the program waits for clients, and so how its gate is closed."""
    status = service.status()
    by = status["generations"][0]["gate_by"]
    if by in (zoo.Gate.NONE.value, zoo.Gate.LANE.value):
        return zoo.Gate(by)
    ours = set(procfs.sockets(status["pid"]).values())
    pids = status["generations"][0]["pids"]
    return zoo.Gate.EPOLL if gate.entries(pids, ours) else zoo.Gate.SHIM


def _drained(service: Service, trial: Trial) -> bool:
    """Whether all drains are over. Records the gates of draining generations."""
    found = [one for one in service.status()["generations"] if one["state"] == "draining"]
    trial.gates.update(f"{one['gate']} {one['gate_reason']}".strip() for one in found)
    return not found


def _describe(one: Round) -> str:
    return f"version {one.version}: reload took {one.outcome.seconds:.2f} s"


def pause(seconds: float) -> None:
    """Let the load run without a reload, for comparison."""
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
