"""The parts that a launch needs. They are made first, so that the program starts while the others
are loaded.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial

from sockact.core.lifecycle.model import Phase
from sockact.core.message_kinds import News
from sockact.core.settings import LaneUse
from sockact.handover.adoption.lock_files import LockFiles
from sockact.supervisor.base import report
from sockact.supervisor.base.faults import Faults
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.gates.lending import Lending
from sockact.supervisor.gates.listener_watch import ListenerWatch
from sockact.supervisor.generations.context import Context, SettingsInForce
from sockact.supervisor.generations.generations import Generations
from sockact.supervisor.logs.logs import Logs
from sockact.supervisor.logs.targets import targets
from sockact.supervisor.processes.hidden_sockets import HiddenSockets
from sockact.supervisor.processes.processes import Processes
from sockact.supervisor.processes.shim_calls import ShimCalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.core.lanes.unaccepted import Unaccepted
    from sockact.core.lifecycle.events import Event
    from sockact.core.settings import Adopt
    from sockact.handover.lanes import Lanes
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.records.carried_state import CarriedProgram
    from sockact.supervisor.resources import Resources
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.reports import Reports

    class Receiver(Protocol):
        """Whom these parts tell what happens. It is made after them."""

        lifecycle: Lifecycle
        reports: Reports

        def heard(self, event: Event) -> None:
            """Handle an event of a generation."""

        def suspect(self) -> None:
            """Look whether the generation that should accept connections still does."""

        def shut_down(self, number: int) -> None:
            """Take note that generation `number` has tried to shut a listener down."""

        def unaccepted(self, found: Unaccepted) -> None:
            """Count connections that their generation had not accepted."""

        def version_known(self, number: int) -> None:
            """Take note that a command has printed the version of a generation."""


_FIRST = 1
"""The number of the first generation."""


class LaunchParts:
    """What a generation is launched with, and what it may ask meanwhile."""

    def __init__(
        self,
        resources: Resources,
        lanes: Lanes,
        adopt: Adopt,
        carried: CarriedProgram | None,
        receiver: Callable[[], Receiver | None],
        show: Callable[[], None],
    ) -> None:
        """`adopt` is the way of adopting; never AUTO. `receiver` returns None until there is one.
        `show` is called after each change that `status` shows.
        """
        settings = resources.settings
        self._resources, self._receiver = resources, receiver
        self.environment = dict(os.environ)
        self.loop = Loop(Faults(partial(resources.reporter.say, level=report.ERROR)).note)
        self.settings = SettingsInForce(settings)
        self.generations = Generations(self.settings)
        name = f"sockact/{settings.name}/{os.getpid()}/{os.urandom(8).hex()}"
        self.shim_address = carried.shim_address if carried else name
        self.processes = Processes(self.shim_address)
        claim = resources.claim
        self.hidden = HiddenSockets(claim.directory, made=claim.made, resumed=carried is not None)
        self.calls = ShimCalls(
            self.loop,
            self.shim_address,
            self.processes.generation_of,
            self.generations.where,
            self.generations.looks,
            self.hidden,
            carried,
        )
        self.logs = Logs(self.loop, targets(settings), resources.notice, show)
        self.lending = Lending(
            self.loop,
            lanes,
            lambda: self._told().lifecycle.service,
            lambda number, message: self._told().reports.say(number, message),
            lambda found: self._told().unaccepted(found),
            strict=settings.lanes is LaneUse.REQUIRE,
        )
        self.listener_watch = self._make_listener_watch(lanes)
        self.context = self._make_context(adopt)

    def _make_listener_watch(self, lanes: Lanes) -> ListenerWatch:
        return ListenerWatch(
            self.loop,
            self._resources.listeners,
            self._is_wanted,
            self._hung_up,
            lanes.stopped,
            lanes.listens_again,
            lambda: lanes.steer(lanes.split),
        )

    def _make_context(self, adopt: Adopt) -> Context:
        return Context(
            self.settings,
            adopt,
            self.loop,
            self._resources.listeners,
            self.lending,
            self.processes,
            self.environment,
            self.shim_address,
            self.calls.location(),
            self.hidden,
            self.logs,
            LockFiles(lambda pid: self.processes.generation_of(pid) is not None),
            lambda event: self._told().heard(event),
            lambda number, address: self._told().reports.report_unlisted(number, address),
            lambda number, reason: self._told().reports.report_unknown_version(number, reason),
            lambda number: self._told().version_known(number),
            lambda number: self._told().shut_down(number),
        )

    def launch_first(self) -> None:
        """Launch the first generation before the lifecycle is there, which begins with the same.

        What fails, a bug included, is left to that, which reports it and goes on.
        """
        with contextlib.suppress(Exception):
            self.generations.launch(self.context, _FIRST, capture=False)

    def close(self) -> None:
        """Close everything. What else uses the loop has to be closed before."""
        self.generations.close()
        self.listener_watch.close()
        self.logs.close()
        self.calls.close()
        self.hidden.close()
        self.loop.close()

    def _told(self) -> Receiver:
        found = self._receiver()
        assert found is not None
        return found

    def _is_wanted(self, listener: Listener) -> bool:
        """Whether to listen again on a listener that a program has shut down."""
        found = self._receiver()
        stopping = found is not None and found.lifecycle.service.phase is Phase.STOPPING
        return not (listener.owned and stopping)

    def _hung_up(self, message: str) -> None:
        """Report that a listener was shut down; the program may have given it up over that."""
        self._resources.notice(message, News.LISTENER)
        if found := self._receiver():
            found.suspect()
