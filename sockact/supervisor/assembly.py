"""Puts a supervisor together from its parts, and runs it.

This is the only module that knows all parts. Each part gets what it needs in its constructor. What
concerns several parts (`_show`, `_busy`, …) is a method here, because the parts that call it are
made before the parts that it asks.
"""

from __future__ import annotations

import os
import signal

import sockact
from sockact.core.lifecycle import events
from sockact.core.message_kinds import News
from sockact.handover.accept_queues import AcceptQueues
from sockact.kernel import looks
from sockact.supervisor.base import report
from sockact.supervisor.changes.configuration import ConfigurationReader
from sockact.supervisor.changes.reload_trigger import ReloadTrigger
from sockact.supervisor.control.server import Server
from sockact.supervisor.parts import BaseParts, LifecycleParts
from sockact.supervisor.probes.probe_commands import watchdog_command
from sockact.supervisor.probes.watchdog import Watchdog
from sockact.supervisor.processes import fd_store, launch
from sockact.supervisor.processes.environment import probe_environment
from sockact.supervisor.processes.fd_store import Leftovers
from sockact.supervisor.records.carried_state import (
    CarriedListener,
    CarriedNotification,
    CarriedOption,
    CarriedStoreRequest,
    CarriedSupervisor,
)
from sockact.supervisor.records.snapshots import Snapshots
from sockact.supervisor.records.state_dir import state_dir
from sockact.supervisor.service.carryover import CarryOver
from sockact.supervisor.service.guard import Guard
from sockact.supervisor.service.reaper import Reaper
from sockact.supervisor.service.requests import Requests
from sockact.supervisor.service.status import Status
from sockact.supervisor.upgrade import Upgrades
from sockact.systemd.notify import watchdog_interval

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Adopt
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.resources import Resources
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
    """One supervisor: all its parts, and the loop that drives them."""

    def __init__(
        self, resources: Resources, adopt: Adopt, carried: CarriedSupervisor | None = None
    ) -> None:
        """`carried` is the state that the previous version of sockact handed over."""
        engine = carried.engine if carried else None
        self._resources = resources
        self._base = base = BaseParts(resources, engine, self._troubles, self._show)
        self._parts = parts = LifecycleParts(resources, base, adopt, self._show)
        self._leftovers: Leftovers | None = None
        self._snapshots = Snapshots(
            state_dir(resources.settings.name, base.environment), resources.notice
        )
        self._configuration = ConfigurationReader(
            base.loop, parts.handovers, base.environment, resources.listeners, resources.reporter
        )
        self._reload = (
            self._configuration.reload if resources.settings.config else parts.handovers.reload
        )
        self._changes = ReloadTrigger(
            base.loop,
            parts.handovers,
            self._reload,
            resources.reporter,
            self._announce,
            carried.inotify if carried else None,
        )
        self._watchdog = self._make_watchdog()
        self._carry_over = self._make_carry_over()
        self._upgrades = Upgrades(base.loop, SIGNALS, self._busy, self._carry, resources.notice)
        self._reaper = self._make_reaper()
        self._requests = self._make_requests()
        listening = carried.control if carried else None
        self._server = Server(base.loop, resources.claim.directory, self._requests, listening)

    def _make_watchdog(self) -> Watchdog | None:
        base, parts, settings = self._base, self._parts, self._resources.settings
        interval = watchdog_interval(base.environment) if self._resources.notifier.active else None
        if not interval:
            return None
        command = watchdog_command(settings, interval / 2)
        environment = probe_environment(base.environment, settings.name)
        guard = Guard(
            parts.lifecycle, base.generations, parts.handovers, base.announcer, base.reports
        )
        queues = AcceptQueues(self._resources.listeners)
        probe = (command, environment) if command else None
        return Watchdog(base.loop, interval, queues, probe, guard)

    def _make_carry_over(self) -> CarryOver:
        base, parts = self._base, self._parts
        return CarryOver(
            parts.lifecycle,
            parts.context,
            base.generations,
            base.processes,
            parts.gates,
            base.calls,
            base.logs,
            base.rotation,
            base.hooks,
            base.outcomes,
            base.announcer,
            base.history,
            base.retry,
        )

    def _make_reaper(self) -> Reaper:
        base, parts = self._base, self._parts
        watchdog = (self._watchdog,) if self._watchdog else ()
        return Reaper(
            parts.lifecycle,
            base.loop,
            base.retry,
            base.processes,
            base.generations,
            parts.gates,
            parts.drains,
            base.termination,
            parts.listener_watch,
            base.calls,
            base.announcer,
            base.outcomes,
            (
                base.generations,
                base.logs,
                base.hooks,
                self._configuration,
                self._upgrades,
                *watchdog,
            ),
        )

    def _make_requests(self) -> Requests:
        base, parts = self._base, self._parts
        status = Status(
            parts.lifecycle,
            parts.context,
            base.generations,
            parts.gates,
            base.outcomes,
            base.history,
            self._changes,
        )
        return Requests(
            parts.lifecycle,
            parts.handovers,
            self._reload,
            self._changes,
            base.rotation,
            base.hooks,
            base.history,
            base.shutdown,
            self._reaper,
            self._upgrades,
            status,
            self._resources.reporter,
            self._show,
        )

    def start(self, left: list[Process]) -> int:
        """Serve once the processes in `left` have ended; return the exit status.

        `left` are processes of an earlier supervisor of this service.
        """
        resources, base, lifecycle = self._resources, self._base, self._parts.lifecycle
        forget = resources.notifier.remove
        try:
            looks.begin(base.processes.group_of, self._report_blocked)
            base.loop.catch(SIGNALS, self._requests.signalled)
            left = fd_store.living(left, forget)
            base.logs.start()
            if left:
                base.announcer.phase(lifecycle.service.phase, lifecycle.service)
                self._leftovers = Leftovers(base.loop, left, forget, resources.notice)
                self._leftovers.wait(resources.settings.kill_timeout, self._launch)
            else:
                self._launch()
            return self._run()
        finally:
            self._close()

    def resume(self, carried: CarriedSupervisor) -> None:
        """Restore the state that the previous version handed over. Call `serve_on` next."""
        base, lifecycle = self._base, self._parts.lifecycle
        looks.begin(base.processes.group_of, self._report_blocked)
        self._carry_over.resume(carried.engine)
        for g in lifecycle.service.generations:
            if not g.ending:
                # The previous version may have decided on this and not carried it out.
                self._parts.performer.end_connections(g.number)
        # SIGCHLD of what has ended meanwhile may have gone to the previous version.
        self._reaper.reap()
        self._reaper.look_for_gone()
        base.announcer.changed(lifecycle.service)
        self._start_watchdog()
        self._changes.look()
        before, now = carried.version, sockact.__version__
        self._resources.reporter.say(
            f"upgraded in place from {before} to {now}", news=News.UPGRADED
        )
        self._server.take_over(carried.connections, before)

    def serve_on(self) -> int:
        """Serve after `resume`; return the exit status."""
        try:
            self._base.loop.catch(SIGNALS, self._requests.signalled)
            return self._run()
        finally:
            self._close()

    def _launch(self) -> None:
        self._parts.lifecycle.handle(events.Start())
        self._start_watchdog()

    def _start_watchdog(self) -> None:
        if self._watchdog:
            self._watchdog.start()

    def _run(self) -> int:
        self._base.loop.run()
        assert self._base.shutdown.exit_status is not None
        return self._base.shutdown.exit_status

    def _close(self) -> None:
        base = self._base
        self._upgrades.close()
        self._server.close()
        base.hooks.close()  # Before the parts whose closing would start a hook.
        base.generations.close()
        self._configuration.close()
        self._changes.close()
        if self._watchdog:
            self._watchdog.close()
        if self._leftovers:
            self._leftovers.close()
        self._parts.listener_watch.close()
        base.logs.close()
        base.calls.close()
        base.hidden.close()
        base.loop.close()
        looks.end()

    def _report_blocked(self, group: object, message: str) -> None:
        """Report that looks at a generation, or at something else, are refused for now."""
        self._base.reports.say(group if isinstance(group, int) else 0, message, report.ERROR)

    def _show(self) -> None:
        """Pass on that something which `status` shows has changed."""
        served = self._parts.handovers.served() if self._resources.settings.config else None
        self._snapshots.keep(served)
        self._configuration.look()
        self._server.changed()
        self._changes.look()

    def _announce(self) -> None:
        """Pass on that something which `status` and systemd's status line show has changed."""
        self._base.announcer.changed(self._parts.lifecycle.service)
        self._show()

    def _troubles(self) -> str:
        """Describe recent failures for systemd's status line; "" if there are none."""
        return "; ".join(filter(None, (self._base.history.describe(), self._changes.stopped())))

    def _busy(self) -> str:
        """Return what must end before another version can take over; "" if nothing must."""
        probing = self._watchdog is not None and self._watchdog.busy()
        call = self._server.busy()
        return (
            self._carry_over.busy()
            or self._configuration.busy()
            or self._changes.busy()
            or ("the watchdog probe is running" if probing else "")
            or (f"a client is waiting for its {call} call" if call else "")
        )

    def _carry(self) -> CarriedSupervisor:
        """Collect the state for the version that takes over."""
        resources = self._resources
        with open(_COMMAND_NAME) as file:
            command_name = file.read().rstrip("\n")
        self._server.flush()
        files, states = resources.notifier.untold()
        return CarriedSupervisor(
            sockact.__version__,
            os.getpid(),
            command_name,
            self._parts.handovers.settings().to_json(),
            resources.claim.directory,
            resources.claim.made,
            resources.claim.fileno(),
            launch.file_limit(),
            resources.notifier.stores,
            tuple(CarriedStoreRequest(*one) for one in files),
            tuple(CarriedNotification(*one) for one in states),
            tuple(map(_carried, resources.listeners)),
            self._server.fileno(),
            self._server.carried(),
            self._carry_over.carried(),
            inotify=self._changes.fileno(),
        )


def _carried(listener: Listener) -> CarriedListener:
    options = (CarriedOption(x, y, value.decode("latin-1")) for x, y, value in listener.original)
    return CarriedListener(listener.socket.fileno(), listener.name, listener.owned, tuple(options))
