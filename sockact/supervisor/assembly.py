"""Puts a supervisor together from its parts, and runs it.

This is the only place that knows all parts. Each gets what it needs in its constructor; only what
is asked of the whole (`_show`, `_busy`, …) is a method here, because it is bound before the parts
that it asks are made.
"""

from __future__ import annotations

import os
import signal

import sockact
from sockact.core.lifecycle import events
from sockact.core.message_kinds import News
from sockact.handover.accept_queues import AcceptQueues
from sockact.supervisor.changes.configuration import ConfigurationReader
from sockact.supervisor.changes.reload_trigger import ReloadTrigger
from sockact.supervisor.control.server import Server
from sockact.supervisor.parts import Core, Ground
from sockact.supervisor.probes.probe_commands import watchdog_command
from sockact.supervisor.probes.watchdog import Watchdog
from sockact.supervisor.processes import fd_store, launch
from sockact.supervisor.processes.environment import probe_environment
from sockact.supervisor.processes.fd_store import Leftovers
from sockact.supervisor.records.carried_state import (
    CarriedListener,
    CarriedNotification,
    CarriedStoreRequest,
    CarriedSupervisor,
)
from sockact.supervisor.records.snapshots import Snapshots
from sockact.supervisor.records.state_dir import state_dir
from sockact.supervisor.service.carryover import CarryOver
from sockact.supervisor.service.facts import ProcessFacts
from sockact.supervisor.service.guard import Guard
from sockact.supervisor.service.requests import Requests
from sockact.supervisor.service.status import Status
from sockact.supervisor.upgrade import Upgrades
from sockact.systemd.notify import watchdog_interval

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Adopt
    from sockact.supervisor.parts import Held
    from sockact.systemd.fdstore import Process

SIGNALS = (
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
)

_COMMAND_NAME = "/proc/self/comm"


class Supervisor:
    """The loop and everything in it."""

    def __init__(self, held: Held, adopt: Adopt, carried: CarriedSupervisor | None = None) -> None:
        """`carried` is what an earlier version of sockact has left."""
        engine = carried.engine if carried else None
        self._held = held
        self._ground = ground = Ground(held, engine, self._troubles, self._show)
        self._core = core = Core(held, ground, adopt, self._show)
        self._leftovers: Leftovers | None = None
        self._snapshots = Snapshots(state_dir(held.settings.name, ground.environment), held.notice)
        self._configuration = ConfigurationReader(
            ground.loop, core.handovers, ground.environment, held.listeners, held.reporter
        )
        self._reload = self._configuration.reload if held.settings.config else core.handovers.reload
        self._changes = ReloadTrigger(
            ground.loop,
            core.handovers,
            self._reload,
            held.reporter,
            self._announce,
            carried.inotify if carried else None,
        )
        self._watchdog = self._make_watchdog()
        self._carry_over = self._make_carry_over()
        self._upgrades = Upgrades(ground.loop, SIGNALS, self._busy, self._carry, held.notice)
        self._facts = self._make_facts()
        self._requests = self._make_requests()
        listening = carried.control if carried else None
        self._server = Server(ground.loop, held.claim.directory, self._requests, listening)

    def _make_watchdog(self) -> Watchdog | None:
        ground, core, settings = self._ground, self._core, self._held.settings
        interval = watchdog_interval(ground.environment) if self._held.notifier.active else None
        if not interval:
            return None
        command = watchdog_command(settings, interval / 2)
        environment = probe_environment(ground.environment, settings.name)
        guard = Guard(
            core.lifecycle, ground.generations, core.handovers, ground.announcer, ground.reports
        )
        queues = AcceptQueues(self._held.listeners)
        probe = (command, environment) if command else None
        return Watchdog(ground.loop, interval, queues, probe, guard)

    def _make_carry_over(self) -> CarryOver:
        ground, core = self._ground, self._core
        return CarryOver(
            core.lifecycle,
            core.context,
            ground.generations,
            ground.processes,
            core.gates,
            ground.calls,
            ground.logs,
            ground.rotation,
            ground.hooks,
            ground.callers,
            ground.announcer,
            ground.history,
            ground.retry,
        )

    def _make_facts(self) -> ProcessFacts:
        ground, core = self._ground, self._core
        watchdog = (self._watchdog,) if self._watchdog else ()
        return ProcessFacts(
            core.lifecycle,
            ground.loop,
            ground.retry,
            ground.processes,
            ground.generations,
            core.gates,
            core.drains,
            ground.termination,
            core.revival,
            ground.calls,
            ground.announcer,
            ground.callers,
            (ground.logs, ground.hooks, self._configuration, self._upgrades, *watchdog),
        )

    def _make_requests(self) -> Requests:
        ground, core = self._ground, self._core
        status = Status(
            core.lifecycle,
            core.context,
            ground.generations,
            core.gates,
            ground.callers,
            ground.history,
            self._changes,
        )
        return Requests(
            core.lifecycle,
            core.handovers,
            self._reload,
            self._changes,
            ground.rotation,
            ground.hooks,
            ground.history,
            ground.shutdown,
            self._facts,
            self._upgrades,
            status,
            self._held.reporter,
            self._show,
        )

    def start(self, left: list[Process]) -> int:
        """Serve, once what an earlier supervisor has left has ended; the exit status."""
        held, ground, lifecycle = self._held, self._ground, self._core.lifecycle
        forget = held.notifier.remove
        try:
            ground.loop.catch(SIGNALS, self._requests.signalled)
            left = fd_store.living(left, forget)
            ground.logs.start()
            if left:
                ground.announcer.phase(lifecycle.service.phase, lifecycle.service)
                self._leftovers = Leftovers(ground.loop, left, forget, held.notice)
                self._leftovers.wait(held.settings.kill_timeout, self._launch)
            else:
                self._launch()
            return self._run()
        finally:
            self._close()

    def resume(self, carried: CarriedSupervisor) -> None:
        """Continue where the earlier version was; `go_on` has to follow."""
        ground, lifecycle = self._ground, self._core.lifecycle
        self._carry_over.resume(carried.engine)
        for g in lifecycle.service.generations:
            if not g.ending:
                # The order was given a moment after it was decided on, or not at all.
                self._core.performer.end_connections(g.number)
        # What ended meanwhile was announced to the process, but perhaps not to this code.
        self._facts.reap()
        self._facts.look_for_gone()
        ground.announcer.changed(lifecycle.service)
        self._start_watchdog()
        self._changes.look()
        before, now = carried.version, sockact.__version__
        self._held.reporter.say(f"upgraded in place, from {before} to {now}", news=News.UPGRADED)
        self._server.take_over(carried.connections, before)

    def go_on(self) -> int:
        """Serve; the exit status."""
        try:
            self._ground.loop.catch(SIGNALS, self._requests.signalled)
            return self._run()
        finally:
            self._close()

    def _launch(self) -> None:
        self._core.lifecycle.handle(events.Start())
        self._start_watchdog()

    def _start_watchdog(self) -> None:
        if self._watchdog:
            self._watchdog.start()

    def _run(self) -> int:
        self._ground.loop.run()
        assert self._ground.shutdown.exit_status is not None
        return self._ground.shutdown.exit_status

    def _close(self) -> None:
        ground = self._ground
        self._upgrades.close()
        self._server.close()
        ground.hooks.close()  # First: what is closed now must not let one begin.
        ground.generations.close()
        self._configuration.close()
        self._changes.close()
        if self._watchdog:
            self._watchdog.close()
        if self._leftovers:
            self._leftovers.close()
        self._core.revival.close()
        ground.logs.close()
        ground.calls.close()
        ground.loop.close()

    def _show(self) -> None:
        """Something that `status` shows has changed."""
        served = self._core.handovers.served() if self._held.settings.config else None
        self._snapshots.keep(served)
        self._configuration.look()
        self._server.changed()
        self._changes.look()

    def _announce(self) -> None:
        """Something that `status` and systemd's status line show has changed."""
        self._ground.announcer.changed(self._core.lifecycle.service)
        self._show()

    def _troubles(self) -> str:
        """For systemd's status line."""
        return "; ".join(filter(None, (self._ground.history.describe(), self._changes.stopped())))

    def _busy(self) -> str:
        """What has to end before another version can take over; "" for nothing."""
        probing = self._watchdog is not None and self._watchdog.busy()
        call = self._server.busy()
        return (
            self._carry_over.busy()
            or self._configuration.busy()
            or self._changes.busy()
            or ("the watchdog's probe is under way" if probing else "")
            or (f"a client waits for the end of its {call}" if call else "")
        )

    def _carry(self) -> CarriedSupervisor:
        held = self._held
        with open(_COMMAND_NAME) as file:
            command_name = file.read().rstrip("\n")
        self._server.flush()
        files, states = held.notifier.untold()
        return CarriedSupervisor(
            sockact.__version__,
            os.getpid(),
            command_name,
            self._core.handovers.settings().to_json(),
            held.claim.directory,
            held.claim.made,
            held.claim.fileno(),
            launch.file_limit(),
            held.notifier.stores,
            tuple(CarriedStoreRequest(*one) for one in files),
            tuple(CarriedNotification(*one) for one in states),
            tuple(CarriedListener(x.socket.fileno(), x.name, x.owned) for x in held.listeners),
            self._server.fileno(),
            self._server.carried(),
            self._carry_over.carried(),
            inotify=self._changes.fileno(),
        )
