"""The parts that are asked from outside or look outside: clients, signals, files, the watchdog.

No launch needs them: they are loaded and made while the first generation starts. After that, the
supervisor loads nothing, because another version of sockact may have been installed meanwhile: what
other modules import within a function is loaded here, too.
"""

from __future__ import annotations

import os
import signal

import sockact
from sockact.handover.accept_queues import AcceptQueues
from sockact.supervisor import pause
from sockact.supervisor.canaries.canaries import Canaries
from sockact.supervisor.canaries.sources import Sources
from sockact.supervisor.changes.configuration import ConfigurationReader
from sockact.supervisor.changes.reload_trigger import ReloadTrigger
from sockact.supervisor.control.server import Server
from sockact.supervisor.counting.request_counts import RequestCounts
from sockact.supervisor.probes.probe_commands import watchdog_command
from sockact.supervisor.probes.watchdog import Watchdog
from sockact.supervisor.processes import launch
from sockact.supervisor.processes.environment import probe_environment
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

# Loaded for those modules that import them within a function.
# isort: split
from sockact.core.history import cause  # noqa: F401
from sockact.supervisor.generations import notify_socket  # noqa: F401
from sockact.supervisor.logs import pump  # noqa: F401
from sockact.supervisor.probes import readiness, trial, warm_up  # noqa: F401
from sockact.supervisor.processes import shim_conversation  # noqa: F401

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.launching import LaunchParts
    from sockact.supervisor.parts import BaseParts, LifecycleParts
    from sockact.supervisor.resources import Resources

SIGNALS = (
    signal.SIGCHLD,
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGTERM,
    signal.SIGUSR1,
)

_COMMAND_NAME = "/proc/self/comm"


class OutsideParts:
    """The parts that are asked from outside or look outside, and what an upgrade needs of all."""

    def __init__(
        self,
        resources: Resources,
        launching: LaunchParts,
        base: BaseParts,
        parts: LifecycleParts,
        control: socket.socket,
        inotify: int | None,
        show: Callable[[], None],
    ) -> None:
        """`control` is the socket for clients; `inotify` is the descriptor that the previous
        version of sockact handed over. `show` is called after each change that `status` shows.
        """
        self._resources = resources
        self._launching = launching
        self._base = base
        self._parts = parts
        self._show = show
        self._snapshots = Snapshots(
            state_dir(resources.settings.name, launching.environment), resources.notice
        )
        self._configuration = ConfigurationReader(
            launching.loop,
            parts.handovers,
            launching.environment,
            launching.lending.lanes.addresses,
            resources.reporter,
        )
        self._reload = (
            self._configuration.reload if resources.settings.config else parts.handovers.reload
        )
        self.changes = ReloadTrigger(
            launching.loop,
            parts.handovers,
            self._reload,
            resources.reporter,
            self._announce,
            inotify,
        )
        self._watchdog = self._make_watchdog()
        self.canaries = self._make_canaries()
        self.carry_over = self._make_carry_over()
        loop = launching.loop
        self._upgrades = Upgrades(loop, SIGNALS, self._busy, self._carry, resources.notice)
        lanes = launching.lending.lanes
        self.pauses = pause.Pauses(parts.lifecycle, loop, parts.gates, lanes.listeners)
        self.reaper = self._make_reaper()
        self._requests = self._make_requests()
        self.server = Server(loop, resources.claim.directory, self._requests, control)

    def _make_watchdog(self) -> Watchdog | None:
        launching, settings = self._launching, self._resources.settings
        interval = (
            watchdog_interval(launching.environment) if self._resources.notifier.active else None
        )
        if not interval:
            return None
        command = watchdog_command(settings, interval / 2)
        environment = probe_environment(launching.environment, settings.name)
        guard = Guard(
            self._parts.lifecycle,
            launching.generations,
            self._parts.handovers,
            self._base.announcer,
            self._base.reports,
        )
        queues = AcceptQueues(launching.lending.serving)
        probe = (command, environment) if command else None
        return Watchdog(launching.loop, interval, queues, probe, guard)

    def _make_canaries(self) -> Canaries:
        launching, parts = self._launching, self._parts
        return Canaries(
            launching.loop,
            lambda: parts.lifecycle.service,
            parts.lifecycle.handle,
            Sources(
                launching.loop,
                launching.processes,
                launching.generations,
                launching.lending,
                launching.logs.pipes,
                RequestCounts(launching.processes, launching.calls),
            ),
            launching.generations.version_of,
            probe_environment(launching.environment, self._resources.settings.name),
            parts.reports.say,
        )

    def _make_carry_over(self) -> CarryOver:
        launching, base, parts = self._launching, self._base, self._parts
        return CarryOver(
            parts.lifecycle,
            launching.context,
            launching.generations,
            launching.processes,
            parts.gates,
            launching.calls,
            base.termination,
            launching.logs,
            base.rotation,
            base.hooks,
            base.outcomes,
            base.announcer,
            base.history,
            base.retry,
            self.canaries,
        )

    def _make_reaper(self) -> Reaper:
        launching, base, parts = self._launching, self._base, self._parts
        return Reaper(
            parts.lifecycle,
            launching.loop,
            base.retry,
            launching.processes,
            launching.generations,
            parts.endings,
            launching.listener_watch,
            launching.calls,
            base.announcer,
            base.outcomes,
        )

    def _make_requests(self) -> Requests:
        launching, base, parts = self._launching, self._base, self._parts
        status = Status(
            parts.lifecycle,
            launching.context,
            launching.generations,
            parts.gates,
            base.outcomes,
            base.history,
            self.changes,
            parts.moving,
            pause.status,
        )
        return Requests(
            parts.lifecycle,
            parts.handovers,
            self._reload,
            self.changes,
            base.rotation,
            base.hooks,
            base.history,
            base.shutdown,
            self.reaper,
            self._upgrades,
            self.pauses,
            status,
            self._resources.reporter,
            self._show,
        )

    def show(self) -> None:
        """Pass on that something which `status` shows has changed."""
        served = self._parts.handovers.served() if self._resources.settings.config else None
        self._snapshots.keep(served)
        self.pauses.look()
        self._configuration.look()
        self.server.changed()
        self.changes.look()
        self.canaries.follow()

    def start_watchdog(self) -> None:
        """Ping systemd from now on, if it wants that."""
        if self._watchdog:
            self._watchdog.start()

    def catch_signals(self) -> None:
        """Let signals reach the service."""
        self._launching.loop.catch(SIGNALS, self._requests.signalled)

    def close(self) -> None:
        """Close the control socket and these parts. The other parts are still there."""
        self._upgrades.close()
        self.server.close()
        self._base.hooks.close()  # Before the parts whose closing would start a hook.
        self._configuration.close()
        self.changes.close()
        self.canaries.close()
        if self._watchdog:
            self._watchdog.close()
        if self._parts.moving:
            self._parts.moving.close()

    def _announce(self) -> None:
        """Pass on that something which `status` and systemd's status line show has changed."""
        self._base.announcer.changed(self._parts.lifecycle.service)
        self._show()

    def _busy(self) -> str:
        """Return what must end before another version can take over; "" if nothing must."""
        probing = self._watchdog is not None and self._watchdog.busy()
        call, moving = self.server.busy(), self._parts.moving
        return (
            self.carry_over.busy()
            or (moving.busy() if moving else "")
            or self._configuration.busy()
            or self.changes.busy()
            or ("the watchdog probe is running" if probing else "")
            or (f"a client is waiting for its {call} call" if call else "")
        )

    def _carry(self) -> CarriedSupervisor:
        """Collect the state for the version that takes over."""
        resources = self._resources
        with open(_COMMAND_NAME) as file:
            command_name = file.read().rstrip("\n")
        self.server.flush()
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
            self.server.fileno(),
            self.server.carried(),
            self.carry_over.carried(),
            inotify=self.changes.fileno(),
        )


def _carried(listener: Listener) -> CarriedListener:
    options = (CarriedOption(x, y, value.decode("latin-1")) for x, y, value in listener.original)
    return CarriedListener(
        listener.socket.fileno(), listener.name, listener.owned, tuple(options), listener.lane
    )
