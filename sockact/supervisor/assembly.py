"""Puts a supervisor together from its parts, and runs it.

Each part gets what it needs in its constructor. What concerns several parts (`_show`, `_troubles`)
is a method here, because the parts that call it are made before the parts that it asks.
"""

from __future__ import annotations

import gc

import sockact
from sockact.core.lifecycle import events
from sockact.core.message_kinds import News
from sockact.kernel import looks
from sockact.supervisor.base import report
from sockact.supervisor.control import endpoint, paths
from sockact.supervisor.parts import BaseParts, LifecycleParts
from sockact.supervisor.processes import fd_store
from sockact.supervisor.processes.fd_store import Leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Adopt
    from sockact.handover.lanes import Lanes
    from sockact.supervisor.outside import OutsideParts
    from sockact.supervisor.records.carried_state import CarriedSupervisor
    from sockact.supervisor.resources import Resources
    from sockact.systemd.fdstore import Process


class Supervisor:
    """One supervisor: all its parts, and the loop that drives them."""

    def __init__(
        self,
        resources: Resources,
        lanes: Lanes,
        adopt: Adopt,
        carried: CarriedSupervisor | None = None,
    ) -> None:
        """`carried` is the state that the previous version of sockact handed over."""
        engine = carried.engine if carried else None
        self._resources = resources
        self._base = base = BaseParts(resources, engine, self._troubles, self._show)
        self._parts = LifecycleParts(resources, lanes, base, adopt, self._show)
        self._leftovers: Leftovers | None = None
        self._outside: OutsideParts | None = None
        self._control_path = paths.control_path(resources.claim.directory)
        if carried:
            self._control = endpoint.take_over(carried.control)
        else:
            self._control = endpoint.listen(self._control_path)

    def start(self, left: list[Process]) -> int:
        """Serve once the processes in `left` have ended; return the exit status.

        `left` are processes of an earlier supervisor of this service.
        """
        resources, base, lifecycle = self._resources, self._base, self._parts.lifecycle
        forget = resources.notifier.remove
        try:
            looks.begin(base.processes.group_of, self._report_blocked)
            left = fd_store.living(left, forget)
            base.logs.start()
            if resources.settings.watch:
                self._look_outside(None)
                self._show()  # Watches from here on: what changes during the launch counts.
            if left:
                base.announcer.phase(lifecycle.service.phase, lifecycle.service)
                self._leftovers = Leftovers(base.loop, left, forget, resources.notice)
                self._leftovers.wait(resources.settings.kill_timeout, self._launch_late)
            else:
                self._launch()
            outside = self._outside or self._look_outside(None)
            if not left:
                outside.start_watchdog()
            self._show()
            return self._run(outside)
        finally:
            self._close()

    def resume(self, carried: CarriedSupervisor) -> OutsideParts:
        """Restore the state that the previous version handed over. Call `serve_on` next."""
        base, lifecycle = self._base, self._parts.lifecycle
        looks.begin(base.processes.group_of, self._report_blocked)
        outside = self._look_outside(carried.inotify)
        outside.carry_over.resume(carried.engine)
        for g in lifecycle.service.generations:
            if not g.ending:
                # The previous version may have decided on this and not carried it out.
                self._parts.endings.end_connections(g.number)
            if g.warm_until is not None:
                launched = base.generations[g.number]
                launched.proving.start_warm_up(launched.settings)  # Anew.
        # SIGCHLD of what has ended meanwhile may have gone to the previous version.
        outside.reaper.reap()
        outside.reaper.look_for_gone()
        base.announcer.changed(lifecycle.service)
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

    def _launch(self) -> None:
        self._parts.lifecycle.handle(events.Start())

    def _launch_late(self) -> None:
        self._launch()
        if self._outside:
            self._outside.start_watchdog()

    def _look_outside(self, inotify: int | None) -> OutsideParts:
        """Make the last parts, of which a launch needs none: meanwhile, the program starts."""
        from sockact.supervisor.outside import OutsideParts

        self._outside = OutsideParts(
            self._resources, self._base, self._parts, self._control, inotify, self._show
        )
        return self._outside

    def _run(self, outside: OutsideParts) -> int:
        outside.catch_signals()
        gc.freeze()  # What is loaded stays.
        gc.enable()
        self._base.loop.run()
        assert self._base.shutdown.exit_status is not None
        return self._base.shutdown.exit_status

    def _close(self) -> None:
        base = self._base
        if self._outside:
            self._outside.close()
        else:
            endpoint.close(self._control, self._control_path)
            base.hooks.close()
        base.generations.close()
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
        if self._outside:
            self._outside.show()

    def _troubles(self) -> str:
        """Describe recent failures for systemd's status line; "" if there are none."""
        stopped = self._outside.changes.stopped() if self._outside else ""
        return "; ".join(filter(None, (self._base.history.describe(), stopped)))
