"""The warm-up of a successor: requests that reach it alone, until response times settle.

docs/warm.md. One child sends all of them, with sockets that are bound here, as those of private
runs.
"""

from __future__ import annotations

import contextlib
import socket
from functools import partial

from sockact.core.errors import OperatorError
from sockact.core.matching import Kind
from sockact.core.record import replace
from sockact.handover.interest import waiting
from sockact.kernel.procfs import Unavailable
from sockact.supervisor.base.commands import CommandRun, python_command
from sockact.supervisor.base.loop import READ
from sockact.supervisor.probes.private_runs import local, target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sockact.core.settings import Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.gates.lending import Lending

_FEWEST, _MOST = 2, 16
"""Requests at once to one address."""
_MOST_AT_ONCE = 64
_PER_PROCESS = 2
_LONGEST = 400


def check(settings: Settings, listeners: Sequence[Listener]) -> None:
    """Refuse a warm-up that clients would not wait for. Raises OperatorError."""
    _targets(settings.warm, listeners)
    ready = settings.ready
    if settings.warm and ":" in ready and target(ready, listeners) is None:
        raise OperatorError(
            f"--warm: with --ready {ready}, clients reach a new generation before it is warm; use "
            f"interest, notify, or http:// and an address of the service"
        )


def _targets(
    warm: Sequence[str], listeners: Sequence[Listener]
) -> list[tuple[tuple[int, str], str, str]]:
    """What target() says of each, its URL, and its file of paths. Raises OperatorError."""
    found = []
    for one in warm:
        file = one[1:] if one.startswith("@") else ""
        url = _first(listeners) if file else one
        where = target(url, listeners)
        if where is None:
            known = ", ".join(str(x.address) for x in listeners)
            raise OperatorError(f"--warm {one}: not an address of the service; use one of {known}")
        found.append((where, url, file))
    return found


def _first(listeners: Sequence[Listener]) -> str:
    """The URL of the first TCP listener; "" if there is none."""
    address = next((x.address for x in listeners if x.address.kind is Kind.STREAM), None)
    if address is None:
        return ""
    host = local(address.host)
    return f"http://[{host}]:{address.port}" if ":" in host else f"http://{host}:{address.port}"


class WarmUp:
    """Warms up one generation, until stopped."""

    def __init__(
        self,
        loop: Loop,
        lending: Lending,
        number: int,
        settings: Settings,
        environment: Mapping[str, str],
        processes: Callable[[], list[int]],
        told: Callable[[str], None],
        ended: Callable[[str], None],
    ) -> None:
        """`processes` are those of the generation. `told` is called with the progress, and `ended`
        when the answers are flat, or with the reason why they are not.
        """
        self._loop = loop
        self._lending = lending
        self._number = number
        self._warm = settings.warm
        self._environment = environment
        self._processes = processes
        self._told = told
        self._ended = ended
        self._known: set[int] = set()
        self._progress = self._before = ""
        self._run: CommandRun | None = None
        self._begin(self._accepting())

    def stop(self) -> None:
        """Send no more requests."""
        if self._run is not None:
            self._run.abandon()
            self._run = None

    def _accepting(self) -> set[int]:
        """Return the processes that accept connections."""
        pids = self._processes()
        listeners = self._lending.listeners_of(self._number)
        try:
            return waiting(pids, {listener.inode for listener in listeners})
        except Unavailable:
            return {*pids}

    def _begin(self, accepting: set[int]) -> None:
        self._known |= accepting
        try:
            self._run = self._start()
        except (OSError, OperatorError) as error:
            self._ended(f"cannot start: {getattr(error, 'strerror', None) or error}")

    def _start(self) -> CommandRun:
        """Start the child. Raises OSError, OperatorError."""
        wanted = _targets(self._warm, self._lending.listeners_of(self._number))
        places = {where for where, _, _ in wanted}
        most = min(_MOST, _MOST_AT_ONCE // len(places))
        width = max(_FEWEST, min(most, _PER_PROCESS * len(self._known)))
        held = contextlib.ExitStack()  # What the child needs no more once it has ended.
        try:
            sources = {where: self._sources(where, width, held) for where in places}
            words = [
                word
                for where, url, file in wanted
                for word in (",".join(map(str, sources[where])), url, file)
            ]
            inherited = tuple(fd for found in sources.values() for fd in found)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.setblocking(False)
            held.callback(self._hang_up, ours)
            with theirs:
                command = replace(
                    python_command(__file__, "warm_requests.py", *words),
                    stdin=theirs.fileno(),
                    inherited=inherited,
                )
                run = CommandRun(
                    self._loop, command, self._environment, None, self._done, held.close
                )
        except BaseException:
            held.close()
            raise
        self._loop.watch(ours.fileno(), READ, partial(self._heard, ours))
        return run

    def _sources(self, where: tuple[int, str], count: int, held: contextlib.ExitStack) -> list[int]:
        """Return sockets whose connections reach the generation alone. Raises OSError."""
        lanes = self._lending.lanes
        found: list[int] = []
        for _ in range(count):
            source = lanes.open_private(*where, self._lending.lane_of(self._number))
            held.callback(self._close_private, source)
            found.append(source.fileno())
        return found

    def _close_private(self, source: socket.socket) -> None:
        """Undo `open_private`. That a rule is still there harms nobody but who gets the port."""
        with contextlib.suppress(OSError):
            self._lending.lanes.close_private(source)

    def _heard(self, channel: socket.socket, _mask: int) -> None:
        if not self._read(channel):
            self._loop.unwatch(channel.fileno())  # SIGCHLD follows.

    def _read(self, channel: socket.socket) -> bool:
        """Pass on the progress, and return whether there was some."""
        try:
            now = channel.recv(_LONGEST).decode(errors="replace")
        except OSError:
            return False
        if now:
            self._progress = f"{self._before}; then {now}" if self._before else now
            self._told(self._progress)
        return bool(now)

    def _hang_up(self, channel: socket.socket) -> None:
        """Read the last of the progress, and end the child if it has not ended."""
        while self._read(channel):
            pass
        if self._loop.watched(channel.fileno()):
            self._loop.unwatch(channel.fileno())
        channel.close()

    def _done(self, reason: str) -> None:
        self._run = None
        accepting = set() if reason else self._accepting()
        if accepting <= self._known:
            self._ended(reason)
            return
        # A process that has come since then may not have got a request.
        self._before = self._before or self._progress
        self._begin(accepting)
