"""Puts a supervisor together from its parts, and runs it.

Each part gets what it needs in its constructor. What concerns several parts (`_show`, `_troubles`)
is a method here, because the parts that call it are made before the parts that it asks.

The modules take longer to load than the program to start, so the parts are made in three steps, and
the first generation is launched after the first of them.
"""

from __future__ import annotations

import gc
from functools import partial

import sockact
from sockact.core.lifecycle import events
from sockact.core.message_kinds import News
from sockact.kernel import looks
from sockact.supervisor.base import report
from sockact.supervisor.control import endpoint, paths
from sockact.supervisor.launching import LaunchParts
from sockact.supervisor.processes import fd_store
from sockact.supervisor.processes.fd_store import Leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

    from sockact.core.settings import Adopt
    from sockact.handover.lanes import Lanes
    from sockact.supervisor.outside import OutsideParts
    from sockact.supervisor.parts import BaseParts, LifecycleParts
    from sockact.supervisor.records.carried_state import CarriedProgram, CarriedSupervisor
    from sockact.supervisor.resources import Resources
    from sockact.systemd.fdstore import Process


class Supervisor:
    """One supervisor: all its parts, and the loop that drives them."""

    _base: BaseParts
    _parts: LifecycleParts | None = None
    _outside: OutsideParts | None = None
    _leftovers: Leftovers | None = None

    def __init__(
        self,
        resources: Resources,
        lanes: Lanes,
        adopt: Adopt,
        carried: CarriedProgram | None = None,
    ) -> None:
        """`carried` is the state that the previous version of sockact handed over."""
        self._resources, self._carried = resources, carried
        self._control_path = paths.control_path(resources.claim.directory)
        self._launching = LaunchParts(
            resources, lanes, adopt, carried, lambda: self._parts, self._show
        )

    def start(self, left: list[Process]) -> int:
        """Serve once the processes in `left` have ended; return the exit status.

        `left` are processes of an earlier supervisor of this service.
        """
        resources, launching = self._resources, self._launching
        forget = resources.notifier.remove
        control = endpoint.listen(self._control_path)
        try:
            looks.begin(launching.processes.group_of, self._report_blocked)
            left = fd_store.living(left, forget)
            launching.logs.start()
            # What changes in watched files during the launch counts.
            if not left and not resources.settings.watch:
                launching.launch_first()
            parts = self._complete()
            if resources.settings.watch:
                self._look_outside(control, None)
                self._show()
            if left:
                service = parts.lifecycle.service
                self._base.announcer.phase(service.phase, service)
                self._leftovers = Leftovers(launching.loop, left, forget, resources.notice)
                late = partial(self._launch_late, parts)
                self._leftovers.wait(resources.settings.kill_timeout, late)
            else:
                parts.lifecycle.handle(events.Start())
            outside = self._outside or self._look_outside(control, None)
            if not left:
                outside.start_watchdog()
            self._show()
            return self._run(outside)
        finally:
            if not self._outside:
                endpoint.close(control, self._control_path)
            self._close()

    def resume(self, carried: CarriedSupervisor) -> OutsideParts:
        """Restore the state that the previous version handed over. Call `serve_on` next."""
        launching, parts = self._launching, self._complete()
        lifecycle = parts.lifecycle
        looks.begin(launching.processes.group_of, self._report_blocked)
        outside = self._look_outside(endpoint.take_over(carried.control), carried.inotify)
        outside.carry_over.resume(carried.engine)
        for g in lifecycle.service.generations:
            if not g.ending:
                # The previous version may have decided on this and not carried it out.
                parts.endings.end_connections(g.number)
            if g.warm_until is not None:
                launched = launching.generations[g.number]
                launched.proving.start_warm_up(launched.settings)  # Anew.
        # SIGCHLD of what has ended meanwhile may have gone to the previous version.
        outside.reaper.reap()
        outside.reaper.look_for_gone()
        self._base.announcer.changed(lifecycle.service)
        outside.start_watchdog()
        outside.changes.look()
        outside.pauses.look()
        before, now = carried.version, sockact.__version__
        self._resources.reporter.say(
            f"upgraded in place from {before} to {now}", news=News.UPGRADED
        )
        outside.server.take_over(carried.connections, before)
        outside.canaries.follow()
        return outside

    def serve_on(self, outside: OutsideParts) -> int:
        """Serve after `resume`; return the exit status."""
        try:
            return self._run(outside)
        finally:
            self._close()

    def _complete(self) -> LifecycleParts:
        """Make the parts that no launch needs."""
        from sockact.supervisor.parts import BaseParts, LifecycleParts

        launching = self._launching
        self._base = BaseParts(self._resources, launching, self._carried, self._troubles)
        self._parts = LifecycleParts(self._resources, launching, self._base, self._show)
        return self._parts

    def _launch_late(self, parts: LifecycleParts) -> None:
        parts.lifecycle.handle(events.Start())
        if self._outside:
            self._outside.start_watchdog()

    def _look_outside(self, control: socket.socket, inotify: int | None) -> OutsideParts:
        """Make the last parts, which the lifecycle does not need."""
        from sockact.supervisor.outside import OutsideParts

        assert self._parts is not None
        self._outside = OutsideParts(
            self._resources,
            self._launching,
            self._base,
            self._parts,
            control,
            inotify,
            self._show,
        )
        return self._outside

    def _run(self, outside: OutsideParts) -> int:
        outside.catch_signals()
        gc.freeze()  # What is loaded stays.
        gc.enable()
        self._launching.loop.run()
        assert self._base.shutdown.exit_status is not None
        return self._base.shutdown.exit_status

    def _close(self) -> None:
        if self._outside:
            self._outside.close()
        elif self._parts:
            self._base.hooks.close()
        if self._leftovers:
            self._leftovers.close()
        self._launching.close()
        looks.end()

    def _report_blocked(self, group: object, message: str) -> None:
        """Report that looks at a generation, or at something else, are refused for now."""
        if self._parts:
            number = group if isinstance(group, int) else 0
            self._parts.reports.say(number, message, report.ERROR)

    def _show(self) -> None:
        """Pass on that something which `status` shows has changed."""
        if self._outside:
            self._outside.show()

    def _troubles(self) -> str:
        """Describe recent failures for systemd's status line; "" if there are none."""
        stopped = self._outside.changes.stopped() if self._outside else ""
        return "; ".join(filter(None, (self._base.history.describe(), stopped)))
