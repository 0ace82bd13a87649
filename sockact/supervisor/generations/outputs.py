"""The standard output and standard error of one generation: docs/journal.md.

They go where the supervisor's own go, unless the generation has a journal identifier of its own, or
the last lines of its standard error are to be kept.
"""

from __future__ import annotations

import os

from sockact.core.record import replace
from sockact.supervisor.base.output_relay import OutputRelay
from sockact.systemd import journal_stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.logs.pipes import WriteEnds
    from sockact.supervisor.records.carried_state import CarriedRelay

_STDERR = 2


class Outputs:
    """Where one generation writes to."""

    def __init__(self) -> None:
        self._stream: int | None = None
        self._streamed: tuple[int, ...] = ()
        self._relay: OutputRelay | None = None
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
        streams = journal_stream.outputs(environment) if identifier else ()
        if streamed := tuple(fd for fd in streams if fd not in logs.descriptors):
            try:
                found._stream = journal_stream.connect(identifier)
                found._streamed = streamed
            except OSError:
                pass  # journald refuses. The lines get the identifier of the service.
        try:
            if capture and _STDERR not in logs.descriptors:
                found._relay = OutputRelay(loop, found._target())
        except OSError:
            found.close()
            raise
        return found

    @classmethod
    def take_over(cls, loop: Loop, carried: CarriedRelay) -> Outputs:
        """Hold the outputs of a generation that the previous version launched."""
        found = cls()
        if carried.stream is not None:
            found._stream, found._streamed = carried.stream, (_STDERR,)
        found._relay = OutputRelay(loop, found._target(), carried)
        return found

    def carried(self) -> CarriedRelay | None:
        """Return the state for the version that takes over; None if nothing is left to pass on."""
        found = self._relay.carried() if self._relay else None
        return replace(found, stream=self._stream) if found else None

    def environment(self) -> dict[str, str]:
        """Return the variables of systemd.exec(5) for a program that writes to the journal."""
        if self._stream is None:
            return {}
        return {"JOURNAL_STREAM": journal_stream.stream_of(self._stream)}

    def replacements(self) -> tuple[tuple[int, int], ...]:
        """Return pairs for dup2(2), to be done in this order: (descriptor, the one to replace)."""
        found = [] if self._stream is None else [(self._stream, fd) for fd in self._streamed]
        if self._relay and self._relay.write_end is not None:
            found.append((self._relay.write_end, _STDERR))
        if self._logs:
            found += self._logs.lay()
        return tuple(found)

    def launched(self) -> None:
        """Close what only the program needs, which has it now."""
        self._close_logs()
        if self._relay:
            self._relay.launched()
        if self._relay is None or _STDERR not in self._streamed:
            self._close_stream()

    def tail(self) -> list[str] | None:
        """Return the last lines of its stderr, the newest last; None if they are not kept."""
        return self._relay.tail() if self._relay else None

    def lines(self) -> int | None:
        """Return how many lines of stderr were passed on; None if none pass here."""
        return self._relay.lines if self._relay else None

    def close(self) -> None:
        """Pass on what is left, and close everything."""
        if self._relay:
            self._relay.close()
        self._close_stream()
        self._close_logs()

    def _target(self) -> int:
        """Return the descriptor that captured stderr is passed on to."""
        if self._stream is not None and _STDERR in self._streamed:
            return self._stream
        return _STDERR

    def _close_logs(self) -> None:
        if self._logs:
            self._logs.close()

    def _close_stream(self) -> None:
        if self._stream is not None:
            os.close(self._stream)
            self._stream = None
