"""Waits until a pending generation is ready, in the configured way: docs/readiness.md."""

from __future__ import annotations

import select

from sockact.core.lifecycle.events import Interest, Observed, Proven
from sockact.core.own_connects import ADVICE
from sockact.core.settings import Adopt
from sockact.supervisor.generations.interest_watch import InterestWatch
from sockact.supervisor.generations.misplacement import Misplacement
from sockact.supervisor.probes.probe_commands import readiness_command
from sockact.supervisor.processes.environment import probe_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.settings import Settings
    from sockact.handover.adoption.adopt import Adoption
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.generations.notify_socket import NotifySocket
    from sockact.supervisor.probes.readiness import ReadinessProbe

NO_SHIM = (
    "the program did not request a listener from the shim; use --adopt seccomp if it is not "
    "written in Python, or if Python runs with -I, -E or -S"
)
NOT_TAKEN = (
    "if its address was in use, it must take its listeners from LISTEN_FDS (sd_listen_fds(3)), "
    "or --adopt native must be left out"
)
_READABLE = "use --ready notify, http://… or exec:…, or run sockact as root"


class Readiness:
    """Watches one pending generation, and explains what it still lacks."""

    def __init__(
        self,
        context: Context,
        number: int,
        settings: Settings,
        listeners: list[Listener],
        adoption: Adoption,
        notify_socket: NotifySocket | None,
    ) -> None:
        """`notify_socket` is where READY=1 is expected, if at all."""
        self._context = context
        self._number = number
        self._settings = settings
        self._listeners = listeners
        self._ready = settings.ready
        self._ended = False
        self._environment = probe_environment(context.environment, settings.name)
        self._adoption = adoption
        self._notify_socket = notify_socket
        self._native = context.adopt is Adopt.NATIVE
        self._probe: ReadinessProbe | None = None
        self._interest: InterestWatch | None = None
        self._misplacement = Misplacement(
            context.loop,
            adoption,
            listeners,
            settings.command,
            lambda: context.processes.of(number),
            self._observe,
        )
        if notify_socket is None:
            self._interest = InterestWatch(
                context.loop,
                number,
                context.processes,
                listeners,
                lambda: context.handle(Interest(number)),
                self._cannot_read,
            )

    def probe(self) -> None:
        """Start the configured probe, if that is not done yet."""
        if self._probe is None:
            from sockact.supervisor.probes.private_runs import PrivateRuns
            from sockact.supervisor.probes.readiness import ReadinessProbe

            context = self._context
            runs = PrivateRuns(context.loop, context.lending, self._number)
            command = readiness_command(self._ready)
            self._probe = ReadinessProbe(
                context.loop,
                runs.of(self._ready, command, self._environment, None),
                lambda: context.handle(Proven(self._number)),
                self._observe,
            )
            self._observe()

    def bound(self) -> None:
        """Look at what the program has bound by now."""
        if self._interest and not self._native:
            self._misplacement.bound()
        self._observe()
        if self._interest:
            self._interest.nudge()

    def ended(self) -> None:
        """Take note that the first process has ended."""
        self._ended = True
        self._observe()

    def stop(self) -> None:
        """Watch no more."""
        self._misplacement.stop()
        if self._interest:
            self._interest.stop()
        if self._probe:
            self._probe.stop()

    def _cannot_read(self, reason: str) -> None:
        hint = f"{reason}; {_READABLE}"
        self._context.handle(Observed(self._number, bound=True, hint=hint))

    def _observe(self) -> None:
        bound = bool(self._adoption.adopted) or self._native
        late = self._misplacement
        hint, refusal = self._hint(bound), self._refusal()
        alone = self._context.lending.is_alone(self._number)
        self._context.handle(
            Observed(self._number, bound, hint, refusal, late.told, late.hopeless, alone)
        )

    def _hint(self, bound: bool) -> str:
        """Return why the generation is not ready; "" if that is unknown."""
        if self._probe:
            why = f"; last attempt: {self._probe.reason}" if self._probe.reason else ""
            return f"the probe {self._ready} did not pass{why}"
        if self._notify_socket and bound:
            stranger = self._notify_socket.stranger
            refused = f" ({stranger} did, but is not of this generation)" if stranger else ""
            return f"the program did not send READY=1 to its $NOTIFY_SOCKET{refused}"
        return self._missing()

    def _missing(self) -> str:
        """Return which addresses the program has not bound, or does not wait on."""
        if not self._native and (why := self._unbound()):
            return why
        seen = self._interest.seen if self._interest else set()
        waiting = [str(x.address) for x in self._listeners if x.inode not in seen]
        return f"nothing waits for connections on {', '.join(waiting)}" if waiting else ""

    def _unbound(self) -> str:
        """Return which addresses the program has not bound, and what to do; "" if it has all."""
        adoption = self._adoption
        missing = [x.address for x in self._listeners if x.inode not in adoption.adopted]
        if not missing:
            return ""
        if adoption.refusal:
            return adoption.refusal
        if not adoption.adopted and (adoption.stranger or adoption.blind):
            return adoption.stranger or adoption.blind
        if twins := [x for x in missing if adoption.takes(x)]:
            return (
                f"its socket [::]:{twins[0].port} takes IPv4 connections, too; write "
                f"ListenStream={twins[0].port} (--listen {twins[0].port}) instead of both addresses"
            )
        names = ", ".join(map(str, missing))
        others = ", ".join(map(str, adoption.others))
        did = f"it bound {others}, which no listener covers" if others else "it bound no address"
        if adoption.adopted and not others:
            did = f"it did not bind {names}"
        return f"{did}; make the program bind {names}, or change ListenStream= (--listen)"

    def _refusal(self) -> str:
        """Return why the program may exit instead: it was refused, or asked for no listener."""
        if self._native:
            return NOT_TAKEN
        adoption = self._adoption
        if self._context.adopt is Adopt.SHIM and not (adoption.adopted or adoption.refusal):
            return NO_SHIM
        if refusal := adoption.refusal or adoption.blind:
            return refusal
        return f"it bound no address; {ADVICE}" if self._may_have_looked() else ""

    def _may_have_looked(self) -> bool:
        """Whether a connection of its own may wait in an accept queue, after it has ended."""
        if not self._ended or self._context.adopt is not Adopt.SECCOMP:
            return False
        if not self._adoption.may_have_looked(self._settings):
            return False
        poll = select.poll()
        for listener in self._listeners:
            poll.register(listener.socket, select.POLLIN)
        return bool(poll.poll(0))
