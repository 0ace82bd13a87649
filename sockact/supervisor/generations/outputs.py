"""Where a generation's standard output and standard error go: docs/journal.md.

To our own, unless the journal is to know its lines by its number, or what it wrote last to its
standard error is to be kept.
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
    """Those of one generation."""

    def __init__(self) -> None:
        self._stream: int | None = None
        self._streamed: tuple[int, ...] = ()
        self._pump: OutputRelay | None = None
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
        """`identifier`: for the journal, where ours are its streams; empty for none of its own.
        What goes to `logs` goes nowhere else. Raises OSError.
        """
        found = cls()
        found._logs = logs
        streams = journal_stream.outputs(environment) if identifier else ()
        if streamed := tuple(fd for fd in streams if fd not in logs.descriptors):
            try:
                found._stream = journal_stream.connect(identifier)
                found._streamed = streamed
            except OSError:
                pass  # journald takes no more: its lines come under the service's identifier.
        try:
            if capture and _STDERR not in logs.descriptors:
                found._pump = OutputRelay(loop, found._target())
        except OSError:
            found.close()
            raise
        return found

    @classmethod
    def take_over(cls, loop: Loop, carried: CarriedRelay) -> Outputs:
        """Those of a generation that an earlier version of us has launched."""
        found = cls()
        if carried.stream is not None:
            found._stream, found._streamed = carried.stream, (_STDERR,)
        found._pump = OutputRelay(loop, found._target(), carried)
        return found

    def carried(self) -> CarriedRelay | None:
        """For the supervisor that takes our place; None when there is nothing left to pass on."""
        found = self._pump.carried() if self._pump else None
        return replace(found, stream=self._stream) if found else None

    def environment(self) -> dict[str, str]:
        """What systemd.exec(5) promises a program whose output is a stream."""
        if self._stream is None:
            return {}
        return {"JOURNAL_STREAM": journal_stream.stream_of(self._stream)}

    def lay(self) -> tuple[tuple[int, int], ...]:
        """(descriptor, what it takes the place of), in this order."""
        found = [] if self._stream is None else [(self._stream, fd) for fd in self._streamed]
        if self._pump and self._pump.write_end is not None:
            found.append((self._pump.write_end, _STDERR))
        if self._logs:
            found += self._logs.lay()
        return tuple(found)

    def launched(self) -> None:
        """The program has them: what nothing is passed on to is closed."""
        self._close_logs()
        if self._pump:
            self._pump.launched()
        if self._pump is None or _STDERR not in self._streamed:
            self._close_stream()

    def tail(self) -> list[str] | None:
        """The last lines of its standard error, the newest last; None where they are not kept."""
        return self._pump.tail() if self._pump else None

    def close(self) -> None:
        """Pass on what is left, then let go."""
        if self._pump:
            self._pump.close()
        self._close_stream()
        self._close_logs()

    def _target(self) -> int:
        """Where what is captured of its standard error goes on to."""
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
