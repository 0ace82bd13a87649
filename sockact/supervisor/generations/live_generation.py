"""One generation as the supervisor holds it, from its launch until its last process has ended.

Decides nothing: what happens is an event for `Context.handle`.
"""

from __future__ import annotations

import contextlib
import os
import time
from functools import partial

from sockact.core.connections import Rules, speaks_tls
from sockact.core.lifecycle.events import LaunchFailed, Proven
from sockact.core.settings import Adopt, Settings
from sockact.handover.adoption.callers import Callers
from sockact.kernel import looks
from sockact.supervisor.base.output_relay import joined
from sockact.supervisor.generations.bind_requests import BindRequests
from sockact.supervisor.generations.launch_news import LaunchNews
from sockact.supervisor.generations.outputs import Outputs
from sockact.supervisor.generations.proving import Proving
from sockact.supervisor.generations.readiness import Readiness
from sockact.supervisor.generations.release_version import ReleaseVersion
from sockact.supervisor.processes import guardian, launch
from sockact.supervisor.processes.environment import (
    adoption_environment,
    deployed,
    program_environment,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.matching import Address, Denied
    from sockact.handover.delivery.accepts import Accepts
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.generations.notify_socket import NotifySocket
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.records.carried_state import CarriedGeneration, CarriedNotifySocket


class LiveGeneration:
    """The launch, sockets, outputs and watches of one generation."""

    _launch: launch.Launch

    def __init__(
        self, context: Context, number: int, carried: CarriedGeneration | None = None
    ) -> None:
        """Use `start` or `take_over`."""
        self.number = number
        self.pid = 0
        self.started = time.time()
        self._context = context
        self.listeners = context.lending.lend(number, carried.lane if carried else None)
        """Those of its lane."""
        self.settings = context.settings.next
        """Those of this generation. The next one may have others."""
        self.own: dict[str, str] = {}
        """Environment variables of its programs and hooks."""
        self.version = ReleaseVersion(context, number)
        self._callers = Callers(
            lambda: context.processes.root(number),
            lambda: context.processes.of(number),
            carried.users if carried else (),
            launching=carried is None,
        )
        self._binds = BindRequests(
            context.loop,
            number,
            self.listeners,
            self._callers,
            context.locks,
            self._bound,
            partial(context.shut_down, number),
        )
        self.outputs: Outputs | None = None
        self._notify_socket: NotifySocket | None = None
        self._readiness: Readiness | None = None
        self.proving = Proving(context, number)
        self._news: LaunchNews | None = None
        self.unlisted: list[str] = []
        """The addresses that it bound with SO_REUSEPORT and that have no listener."""
        self._guardian = carried.guardian if carried else None

    @classmethod
    def start(cls, context: Context, number: int, *, capture: bool) -> LiveGeneration:
        """Launch a generation; `capture` keeps its last lines. Raises OperatorError."""
        found = cls(context, number)
        found._binds.adoption.own_connects.begin()
        settings = found.settings
        identifier = settings.identifier and f"{settings.identifier}-{number}"
        try:
            logs = context.logs.pipes.open(number)
            found.outputs = Outputs.open(
                context.loop, context.environment, identifier, logs, capture=capture
            )
            found._launch = found._prepare(found.outputs)
            found.pid, news = launch.spawn(found._launch)
        except Exception:
            found.close()
            raise
        found.outputs.launched()
        context.processes.add(found.pid, number)
        found._news = LaunchNews(context.loop, news, found._binds.watch, found._executed)
        found._readiness = Readiness(
            context,
            number,
            settings,
            found.listeners,
            found._binds.adoption,
            found._notify_socket,
        )
        return found

    @classmethod
    def take_over(cls, context: Context, carried: CarriedGeneration) -> LiveGeneration:
        """Hold a generation that the previous version launched, and that is no longer pending."""
        found = cls(context, carried.number, carried)
        found.pid, found.started = carried.pid, carried.started
        if carried.settings:
            found.settings = Settings.from_older(carried.settings)
        found.own = deployed(found.settings)[2]
        found.version = ReleaseVersion(context, carried.number, carried.version)
        if carried.output or carried.pump:
            found.outputs = Outputs.take_over(context.loop, carried.output, carried.pump)
        if carried.notified:
            found._notify_socket = found._open_notify_socket(carried.notified)
        found.unlisted.extend(carried.unlisted)
        if carried.notifications is not None:
            found._binds.watch(carried.notifications)
        return found

    def carried(self, gates: Gates) -> CarriedGeneration:
        """Return the state for the version that takes over."""
        from sockact.supervisor.records.carried_state import CarriedGeneration

        output, error = self.outputs.carried() if self.outputs else (None, None)
        return CarriedGeneration(
            self.number,
            self.pid,
            self.started,
            self._binds.fileno(),
            self._notify_socket.carried() if self._notify_socket else None,
            error,
            *gates.carried(self.number),
            self.version.text,
            "" if self.settings is self._context.settings.next else self.settings.to_json(),
            self._callers.users(),
            tuple(self.unlisted),
            self._guardian,
            self._context.lending.lane_of(self.number),
            gates.is_bypassed(self.number),
            output,
        )

    @property
    def rules(self) -> Rules:
        """The rules for its connections."""
        ports = [listener.address.port for listener in self.listeners]
        return Rules(self.settings.quiet_after, speaks_tls(self.settings.command, ports))

    def is_busy(self) -> bool:
        """Whether its launch, probe or trial is in progress, its version is being found, or a call
        is not answered yet.
        """
        waits = self.version.under_way or self._binds.is_busy()
        return waits or any((self._news, self._readiness, self.proving.on_trial))

    def find_version(self) -> None:
        """Find out the version of its release."""
        program, directory = self._launch.command[0], self._launch.directory
        self.version.find(self.settings, program, directory, self.own)

    def probe(self) -> None:
        """Start the configured readiness probe, if that is not done yet."""
        if self._readiness:
            self._readiness.probe()

    def silent_for(self) -> float | None:
        """Return the seconds since its last WATCHDOG=1; None if it has never sent one."""
        at = self._notify_socket.alive_at if self._notify_socket else None
        return None if at is None else time.monotonic() - at

    def where(self, wanted: Address, pid: int, queue: int | None) -> Listener | Denied | None:
        """Answer the shim of this process: a listener, a refusal, or None if the program may bind
        by itself. Raises OSError.
        """
        return self._binds.bind(wanted, pid, queue)

    def looks(self, wanted: Address, pid: int) -> bool | None:
        """Whether the shim of this process has to refuse a connection to an own listener; None if
        it need not ask any more. Raises OSError.
        """
        return self._binds.look(wanted, pid)

    def root_ended(self) -> None:
        """Read what its first process, which has ended, reported of the launch."""
        if self._news:
            self._news.read()
        if self._readiness:
            self._readiness.ended()

    @property
    def may_have_looked(self) -> bool:
        """Whether it may have failed because it found an address in use by connect()."""
        by_filter = self._context.adopt is Adopt.SECCOMP
        return by_filter and self._binds.adoption.may_have_looked(self.settings)

    def last_lines(self, done: Callable[[list[str]], None]) -> None:
        """Pass the last lines that it wrote to `done`, now or later."""
        found = self.outputs.tails() if self.outputs else []
        self._context.logs.pipes.tails(self.number, lambda more: done(joined([*found, *more])))

    def restore_options(self) -> None:
        """Give the listeners the options that they had before: another generation serves."""
        self._binds.adoption.options.restore()

    def accept_by(self, accepts: Accepts) -> None:
        """Have the accepts of deliveries answered, from the first one on."""
        self._binds.adoption.accept_by(accepts)

    def settle(self) -> None:
        """Watch no more for readiness: the generation is no longer pending."""
        self._binds.adoption.own_connects.end()
        if self._readiness:
            self._readiness.stop()
            self._readiness = None
            self._guard()

    def _guard(self) -> None:
        """Start a guardian, if the program has to be ended should the supervisor be killed."""
        if self._context.processes.root(self.number) != self.pid:
            return
        if guardian.is_needed(self.pid, self._context.environment):
            with contextlib.suppress(OSError):  # Without one it only outlives the supervisor.
                self._guardian = guardian.start(self.pid, self.settings.stop_signal)

    def close(self) -> None:
        """Release everything: its last process has ended."""
        self.settle()
        self.proving.close()
        self.version.close()
        if self._notify_socket:
            # Not earlier: a program that still sends STATUS= must not get an error.
            self._notify_socket.close()
            self._notify_socket = None
        if self._news:
            self._news.close()
        if self._guardian is not None:
            os.close(self._guardian)
            self._guardian = None
        self._binds.close()
        if self.outputs:
            self.outputs.close()
        self._context.logs.pipes.forget(self.number)
        looks.forget(self.number)
        self._context.lending.forget(self.number)

    def _prepare(self, outputs: Outputs) -> launch.Launch:
        context, settings, adoption = self._context, self.settings, self._binds.adoption
        command, directory, self.own = deployed(settings)
        environment = program_environment(
            context.environment | self.own,
            settings.name,
            self.number,
            context.shim_address,
            context.supervisor,
        )
        environment |= outputs.environment()
        environment |= adoption_environment(context.adopt, self.listeners, adoption.paths)
        if settings.ready == "notify":
            self._notify_socket = self._open_notify_socket()
            environment["NOTIFY_SOCKET"] = self._notify_socket.address
            if usec := context.environment.get("WATCHDOG_USEC"):
                environment["WATCHDOG_USEC"] = usec
        native = context.adopt is Adopt.NATIVE
        if native:
            adoption.options.begin_all()
        return launch.Launch(
            command,
            directory,
            environment,
            frozenset(adoption.calls if context.adopt is Adopt.SECCOMP else ()),
            adoption.connects(settings) if context.adopt is Adopt.SECCOMP else frozenset(),
            tuple(x.socket.fileno() for x in self.listeners) if native else (),
            outputs.replacements(),
            settings.stop_signal,
        )

    def _open_notify_socket(self, carried: CarriedNotifySocket | None = None) -> NotifySocket:
        from sockact.supervisor.generations.notify_socket import NotifySocket

        context = self._context
        return NotifySocket(
            context.loop,
            f"{context.shim_address}/notify-{self.number}",
            context.hidden,
            partial(self._is_own, context.processes),
            lambda: context.processes.of(self.number),
            lambda: context.handle(Proven(self.number)),
            self._bound,
            carried,
        )

    def _is_own(self, processes: Processes, pid: int) -> bool:
        try:
            return processes.generation_of(pid) == self.number
        except OSError:
            return False

    def _bound(self) -> None:
        for address in map(str, self._binds.adoption.unlisted):
            if address not in self.unlisted:
                self.unlisted.append(address)
                self._context.unlisted(self.number, address)
        if self._readiness:
            self._readiness.bound()

    def _executed(self, failure: launch.LaunchFailure | None) -> None:
        self._news = None
        if failure:
            self._context.handle(LaunchFailed(self.number, failure.explain(self._launch)))
        else:
            self._bound()
