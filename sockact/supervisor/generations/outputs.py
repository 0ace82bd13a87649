"""The standard output and standard error of one generation: docs/journal.md.

They go where the supervisor's own go, unless the generation has a journal identifier of its own, or
its last lines are to be kept: programs say on either why they end.
"""

from __future__ import annotations

import os

from sockact.core.record import replace
from sockact.supervisor.base.output_relay import OutputRelay
from sockact.systemd import journal_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.logs.pipes import WriteEnds
    from sockact.supervisor.records.carried_state import CarriedRelay

_STDOUT, _STDERR = 1, 2


class Outputs:
    """Where one generation writes to."""

    def __init__(self) -> None:
        self._stream: int | None = None
        self._streamed: tuple[int, ...] = ()
        self._journal: tuple[int, ...] = ()
        """The outputs whose lines get into the journal."""
        self._relays: dict[int, OutputRelay] = {}
        """By the descriptor of the program."""
        self._logs: WriteEnds | None = None

    @classmethod
    def open(
        cls,
        loop: Loop,
        environment: Mapping[str, str],
        identifier: str,
        logs: WriteEnds,
        *,
        capture: bool,
    ) -> Outputs:
        """Open the outputs of a generation that is about to be launched. Raises OSError.

        `identifier` is the journal identifier of its lines, if the supervisor's own outputs go to
        the journal; empty for the same as sockact's own. `logs` takes outputs away from here.
        """
        found = cls()
        found._logs = logs
        streams = journal_stream.outputs(environment)
        found._journal = tuple(fd for fd in streams if fd not in logs.descriptors)
        if identifier and found._journal:
            try:
                found._stream = journal_stream.connect(identifier)
                found._streamed = found._journal
            except OSError:
                pass  # journald refuses. The lines get the identifier of the service.
        try:
            for fd in _relayed(logs) if capture else ():
                found._relays[fd] = OutputRelay(loop, found._target(fd))
        except OSError:
            found.close()
            raise
        return found

    @classmethod
    def take_over(
        cls, loop: Loop, output: CarriedRelay | None, error: CarriedRelay | None
    ) -> Outputs:
        """Hold the outputs of a generation that the previous version launched."""
        found = cls()
        carried = {fd: one for fd, one in ((_STDOUT, output), (_STDERR, error)) if one}
        for fd, one in carried.items():
            if one.stream is not None:
                found._stream, found._streamed = one.stream, (*found._streamed, fd)
        for fd, one in carried.items():
            found._relays[fd] = OutputRelay(loop, found._target(fd), one)
        return found

    def carried(self) -> tuple[CarriedRelay | None, CarriedRelay | None]:
        """Return the state of standard output and error for the version that takes over; None for
        one of which nothing is left to pass on.
        """
        return self._carried(_STDOUT), self._carried(_STDERR)

    def _carried(self, fd: int) -> CarriedRelay | None:
        found = self._relays[fd].carried() if fd in self._relays else None
        return replace(found, stream=self._stream) if found and fd in self._streamed else found

    def environment(self) -> dict[str, str]:
        """Return the variables of systemd.exec(5) for a program that writes to the journal."""
        laid = {fd: source for source, fd in self.replacements()}
        found = [laid[fd] for fd in self._journal if fd in laid]
        return {"JOURNAL_STREAM": journal_stream.stream_of(found[0])} if found else {}

    def replacements(self) -> tuple[tuple[int, int], ...]:
        """Return pairs for dup2(2): (descriptor, the standard one that it replaces)."""
        found = {} if self._stream is None else dict.fromkeys(self._streamed, self._stream)
        for fd, relay in self._relays.items():
            if relay.write_end is not None:
                found[fd] = relay.write_end
        laid = self._logs.lay() if self._logs else ()
        return (*((source, fd) for fd, source in found.items()), *laid)

    def launched(self) -> None:
        """Close what only the program needs, which has it now."""
        self._close_logs()
        for relay in self._relays.values():
            relay.launched()
        if not self._relays.keys() & self._streamed:
            self._close_stream()

    def tails(self) -> list[list[str]]:
        """Return the last lines of each output that they are kept of, those of standard error
        last.
        """
        return [relay.tail() for _, relay in sorted(self._relays.items())]

    def lines(self) -> int | None:
        """Return how many lines of stderr were passed on; None if none pass here."""
        return self._relays[_STDERR].lines if _STDERR in self._relays else None

    def close(self) -> None:
        """Pass on what is left, and close everything."""
        for relay in self._relays.values():
            relay.close()
        self._close_stream()
        self._close_logs()

    def _target(self, fd: int) -> int:
        """Return the descriptor that the program's captured output `fd` is passed on to."""
        return self._stream if self._stream is not None and fd in self._streamed else fd

    def _close_logs(self) -> None:
        if self._logs:
            self._logs.close()

    def _close_stream(self) -> None:
        if self._stream is not None:
            os.close(self._stream)
            self._stream = None


def _relayed(logs: WriteEnds) -> Iterator[int]:
    """The outputs that are relayed if the last lines are to be kept."""
    for fd in (_STDOUT, _STDERR):
        # Most programs show a terminal, but not a pipe, each line at once; and who has started the
        # service there sees why the program ends.
        if fd not in logs.descriptors and not (fd == _STDOUT and os.isatty(fd)):
            yield fd
