"""Where a generation's standard output and standard error go: docs/journal.md.

To our own, unless the journal is to know its lines by its number, or what it wrote last to its
standard error is to be kept.
"""

from __future__ import annotations

import os

from sockact.supervisor.pump import Pump
from sockact.systemd import stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from sockact.supervisor.loop import Loop

_STDERR = 2


class Outputs:
    """Those of one generation."""

    def __init__(
        self, loop: Loop, environment: Mapping[str, str], identifier: str, *, capture: bool
    ) -> None:
        """`identifier`: for the journal, where ours are its streams; empty for none of its own."""
        self._stream: int | None = None
        self._streamed: tuple[int, ...] = ()
        if identifier and (streamed := stream.outputs(environment)):
            try:
                self._stream = stream.connect(identifier)
                self._streamed = streamed
            except OSError:
                pass  # journald takes no more: its lines come under the service's identifier.
        target = self._stream if _STDERR in self._streamed else None
        self._pump: Pump | None = None
        try:
            if capture:
                self._pump = Pump(loop, _STDERR if target is None else target)
        except OSError:
            self.close()
            raise

    def environment(self) -> dict[str, str]:
        """What systemd.exec(5) promises a program whose output is a stream."""
        if self._stream is None:
            return {}
        return {"JOURNAL_STREAM": stream.stream_of(self._stream)}

    def lay(self) -> tuple[tuple[int, int], ...]:
        """(descriptor, what it takes the place of), in this order."""
        found = [] if self._stream is None else [(self._stream, fd) for fd in self._streamed]
        if self._pump and self._pump.write_end is not None:
            found.append((self._pump.write_end, _STDERR))
        return tuple(found)

    def launched(self) -> None:
        """The program has them."""
        if self._pump:
            self._pump.launched()

    def tail(self) -> list[str]:
        """The last lines of its standard error, if they were kept; the newest last."""
        return self._pump.tail() if self._pump else []

    def close(self) -> None:
        """Pass on what is left, then let go."""
        if self._pump:
            self._pump.close()
        if self._stream is not None:
            os.close(self._stream)
            self._stream = None
