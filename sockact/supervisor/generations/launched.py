"""What the supervisor holds for one generation: launch, notifications, watches, outputs.

No decisions here: what happens is reported to `Context.handle`.
"""

from __future__ import annotations

import os
import select
import time

from sockact.core.lifecycle.events import (
    Interest,
    LaunchFailed,
    Observed,
    Proven,
    TrialFailed,
    TrialPassed,
)
from sockact.core.settings import Adopt, Settings
from sockact.handover.adopt import Adoption
from sockact.kernel.seccomp import Call
from sockact.supervisor.base.loop import READ
from sockact.supervisor.generations.notify_socket import Notified
from sockact.supervisor.generations.outputs import Outputs
from sockact.supervisor.generations.readiness import Readiness, missing_hint, refusal_of
from sockact.supervisor.generations.release_version import ReleaseVersion
from sockact.supervisor.probes.probe_commands import readiness_command, trial_command
from sockact.supervisor.probes.readiness import ReadinessProbe
from sockact.supervisor.probes.trial import TrialChecks, TrialMonitor
from sockact.supervisor.processes import launch
from sockact.supervisor.processes.environment import (
    adoption_environment,
    deployed,
    probe_environment,
    program_environment,
)
from sockact.supervisor.records.carried_state import CarriedGeneration

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sockact.core.lifecycle.model import Exit
    from sockact.core.matching import Address
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.records.carried_state import CarriedNotifySocket


class Launched:
    """One generation from its launch until it is forgotten."""

    _launch: launch.Launch

    def __init__(self, context: Context, number: int) -> None:
        """To be launched, or taken over."""
        self.number = number
        self.pid = 0
        self.started = time.time()
        self._context = context
        self.settings = context.settings.next
        """Of this generation: the next one may have others."""
        self.own: dict[str, str] = {}
        """Variables that only programs have, and hooks."""
        self.version = ReleaseVersion(context, number)
        self._pending = True
        self._adoption = Adoption(context.listeners)
        self._outputs: Outputs | None = None
        self._notified: Notified | None = None
        self._readiness: Readiness | None = None
        self._probe: ReadinessProbe | None = None
        self._trial: TrialMonitor | None = None
        self._news: socket.socket | None = None
        self._notifications: int | None = None

    @classmethod
    def start(cls, context: Context, number: int, *, capture: bool) -> Launched:
        """Launch it; `capture` keeps the end of its stderr. Raises OperatorError."""
        found = cls(context, number)
        identifier = found.settings.identifier
        try:
            found._outputs = Outputs.open(
                *(context.loop, context.environment, identifier and f"{identifier}-{number}"),
                context.logs.pipes.open(number),
                capture=capture,
            )
            found._launch = found._prepare(found._outputs)
            found.pid, found._news = launch.spawn(found._launch)
        except Exception:
            found.close()
            raise
        found._outputs.launched()
        context.processes.add(found.pid, number)
        context.loop.watch(found._news.fileno(), READ, found._read_news)
        found._readiness = found._watch_readiness()
        return found

    @classmethod
    def take_over(cls, context: Context, carried: CarriedGeneration) -> Launched:
        """One that an earlier version of us has launched, and that is not pending any more."""
        found = cls(context, carried.number)
        found.pid, found.started, found._pending = carried.pid, carried.started, False
        if carried.settings:
            found.settings = Settings.from_older(carried.settings)
        found.own = deployed(found.settings)[2]
        found.version = ReleaseVersion(context, carried.number, carried.version)
        if carried.pump:
            found._outputs = Outputs.take_over(context.loop, carried.pump)
        if carried.notified:
            found._notified = found._listen_for_ready(carried.notified)
        if carried.notifications is not None:
            found._watch_filter(carried.notifications)
        return found

    def carried(self, gates: Gates) -> CarriedGeneration:
        """For the supervisor that takes our place."""
        return CarriedGeneration(
            self.number,
            self.pid,
            self.started,
            self._notifications,
            self._notified.carried() if self._notified else None,
            self._outputs.carried() if self._outputs else None,
            *gates.carried(self.number),
            self.version.text,
            "" if self.settings is self._context.settings.next else self.settings.to_json(),
        )

    def busy(self) -> bool:
        """Is its launch, its probe or its trial not over?"""
        under_way = self._news, self._readiness, self._probe, self._trial
        return self.version.under_way or any(under_way)

    def probe(self) -> None:
        """Begin with the configured probe; once."""
        if self._probe is None:
            self._probe = ReadinessProbe(
                self._context.loop,
                readiness_command(self.settings.ready),
                probe_environment(self._context.environment, self.settings.name),
                lambda: self._context.handle(Proven(self.number)),
                self._observe,
            )
            self._observe()

    def silent_for(self) -> float | None:
        """Seconds since its last WATCHDOG=1; None when it never sent one."""
        at = self._notified.alive_at if self._notified else None
        return None if at is None else time.monotonic() - at

    def on_trial(self) -> None:
        """Begin with the watch over its trial; once."""
        if self._trial is None:
            context, settings = self._context, self.settings
            watch = TrialChecks(
                trial_command(settings, context.listeners),
                probe_environment(context.environment, settings.name),
                context.listeners,
                settings.probe_interval,
                settings.probe_timeout,
                settings.probe_threshold,
            )
            self._trial = TrialMonitor(
                context.loop,
                watch,
                lambda: context.handle(TrialPassed(self.number)),
                lambda reason: context.handle(TrialFailed(self.number, reason)),
            )

    def trial_over(self) -> None:
        if self._trial:
            self._trial.stop()
            self._trial = None

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child of ours has ended that is no program: perhaps an attempt of a probe."""
        for watch in (self._probe, self._trial, self.version):
            if watch is not None:
                watch.reaped(pid, exit)

    def where(self, wanted: Address) -> Listener | str | None:
        """The shim asks where a bind belongs."""
        found = self._adoption.bind(wanted)
        self._bound()
        return found

    def hear(self) -> None:
        """Its first process has ended: what it still told of its launch comes before that."""
        if self._news is not None:
            self._read_news(0)

    def stderr_tail(self, done: Callable[[list[str]], None]) -> None:
        """Tell `done` the last lines of its standard error, at once or in a moment."""
        found = self._outputs.tail() if self._outputs else None
        done(found) if found is not None else self._context.logs.pipes.tail(self.number, done)

    def settled(self) -> None:
        """It is not pending any more: end the watches that only matter for that."""
        self._pending = False
        if self._readiness:
            self._readiness.stop()
            self._readiness = None
        if self._probe:
            self._probe.stop()
            self._probe = None

    def close(self) -> None:
        """Its last process has ended."""
        self.settled()
        self.trial_over()
        self.version.close()
        if self._notified:
            # Not before: a program that goes on to tell its STATUS= must not get an error.
            self._notified.close()
            self._notified = None
        self._close_news()
        self._close_notifications()
        if self._outputs:
            self._outputs.close()
        self._context.logs.pipes.forget(self.number)

    def _prepare(self, outputs: Outputs) -> launch.Launch:
        context, settings = self._context, self.settings
        command, directory, self.own = deployed(settings)
        environment = program_environment(
            context.environment | self.own, settings.name, self.number, context.shim_address
        )
        environment |= outputs.environment()
        environment |= adoption_environment(context.adopt, context.listeners, self._adoption.paths)
        if settings.ready == "notify":
            self._notified = self._listen_for_ready()
            environment["NOTIFY_SOCKET"] = self._notified.address
            if usec := context.environment.get("WATCHDOG_USEC"):
                environment["WATCHDOG_USEC"] = usec
        self.version.find(settings, command[0], directory, self.own)
        native = context.adopt is Adopt.NATIVE
        return launch.Launch(
            command,
            directory,
            environment,
            frozenset(self._adoption.calls if context.adopt is Adopt.SECCOMP else ()),
            tuple(x.socket.fileno() for x in context.listeners) if native else (),
            outputs.lay(),
            settings.stop_signal,
        )

    def _listen_for_ready(self, carried: CarriedNotifySocket | None = None) -> Notified:
        context = self._context
        address = f"{context.shim_address}/notify-{self.number}"
        heard = self._said_ready, self._bound
        return Notified(context.loop, address, self._pids, *heard, carried)

    def _watch_readiness(self) -> Readiness | None:
        if self.settings.ready == "notify":
            return None
        return Readiness(
            self._context.loop,
            self.number,
            self._context.processes,
            self._context.listeners,
            lambda: self._context.handle(Interest(self.number)),
            self._blind,
        )

    def _blind(self, reason: str) -> None:
        """We may not look into the program's processes: say so, should it come to nothing."""
        hint = f"{reason}; use --ready notify, http://… or exec:…, or run sockact as root"
        self._context.handle(Observed(self.number, bound=True, hint=hint))

    def _bound(self) -> None:
        if not self._pending:
            return
        self._observe()
        if self._readiness:
            self._readiness.nudge()

    def _observe(self) -> None:
        native = self._context.adopt is Adopt.NATIVE
        bound = bool(self._adoption.adopted) or native
        refusal = refusal_of(self._context.adopt, self._adoption)
        self._context.handle(Observed(self.number, bound, self._hint(bound), refusal))

    def _hint(self, bound: bool) -> str:
        """What it is that does not come, should it never get ready."""
        ready = self.settings.ready
        if self._probe:
            why = f": its last attempt {self._probe.reason}" if self._probe.reason else ""
            return f"the probe {ready} did not pass{why}"
        if ready == "notify" and bound:
            stranger = self._notified.stranger if self._notified else ""
            refused = f" ({stranger} did, and is not of this generation)" if stranger else ""
            return f"the program did not send READY=1 to its $NOTIFY_SOCKET{refused}"
        seen = self._readiness.seen if self._readiness else set()
        native = self._context.adopt is Adopt.NATIVE
        return missing_hint(self._adoption, self._context.listeners, seen, native)

    def _pids(self) -> list[int]:
        return self._context.processes.of(self.number)

    def _said_ready(self) -> None:
        self._context.handle(Proven(self.number))

    def _read_news(self, _mask: int) -> None:
        while self._news is not None:
            try:
                self._learn(launch.read_news(self._news))
            except BlockingIOError:
                return

    def _learn(self, news: int | launch.LaunchFailure | None) -> None:
        if isinstance(news, int):
            self._watch_filter(news)
            return
        self._close_news()
        if isinstance(news, launch.LaunchFailure):
            self._context.handle(LaunchFailed(self.number, news.explain(self._launch)))
        else:
            self._bound()

    def _watch_filter(self, notifications: int) -> None:
        self._notifications = notifications
        self._context.loop.watch(notifications, READ, self._notification)

    def _notification(self, _mask: int) -> None:
        assert self._notifications is not None
        poll = select.poll()
        poll.register(self._notifications, select.POLLIN)
        events = sum(events for _, events in poll.poll(0))
        if events & select.POLLIN:
            if self._adoption.handle(self._notifications) in (Call.BIND, Call.LISTEN):
                self._bound()
        elif events & select.POLLHUP:
            # The last process that has the filter is gone: nothing will come any more.
            self._close_notifications()
        # Neither: a signal, or a kill, has taken the notification back; receiving would block.

    def _close_news(self) -> None:
        if self._news is not None:
            self._context.loop.unwatch(self._news.fileno())
            self._news.close()
            self._news = None

    def _close_notifications(self) -> None:
        if self._notifications is not None:
            self._context.loop.unwatch(self._notifications)
            os.close(self._notifications)
            self._notifications = None
