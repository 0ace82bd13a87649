"""The pipes from generations to the log pump: docs/logs.md.

The supervisor keeps their read ends for the next log pump, but never reads from them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from functools import partial

from sockact.supervisor.base.output_relay import TAIL_LINES
from sockact.supervisor.logs.targets import STDERR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.logs.messages import Message
    from sockact.supervisor.logs.targets import Target
    from sockact.supervisor.records.carried_state import CarriedLogPipe

    Tell = Callable[[Message, int | None], None]

_SIZE = 1 << 20
"""Bytes in a pipe."""
_TAIL_WITHIN = 1.0
"""Seconds."""


class WriteEnds:
    """The write ends for one generation, until the program has them."""

    def __init__(self) -> None:
        self._ends: list[tuple[int, tuple[int, ...]]] = []

    def append(self, end: int, descriptors: tuple[int, ...]) -> None:
        """Add an end that replaces these standard descriptors."""
        self._ends.append((end, descriptors))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The standard descriptors that go to a log."""
        return tuple(fd for _end, fds in self._ends for fd in fds)

    def lay(self) -> tuple[tuple[int, int], ...]:
        """Return (write end, standard descriptor that it replaces)."""
        return tuple((end, fd) for end, fds in self._ends for fd in fds)

    def close(self) -> None:
        """Close the ends, once the program has them or has failed to start."""
        for end, _fds in self._ends:
            os.close(end)
        self._ends.clear()


class _Pipe:
    """A pipe from a generation to a log."""

    def __init__(self, generation: int, log: int, fd: int) -> None:
        self.generation = generation
        """0 once the generation is gone."""
        self.log = log
        self.fd = fd
        """The read end; -1 once it is at its end, and closed."""
        self.tail = ""
        self.lines: int | None = None
        """Lines that were read from it, as the log pump has told."""


class Pipes:
    """The pipes of a service, by the numbers that the log pump knows them by."""

    def __init__(self, loop: Loop, targets: tuple[Target, ...], tell: Tell) -> None:
        self._loop = loop
        self._targets = targets
        self._tell = tell
        self._pipes: dict[int, _Pipe] = {}
        self._last = 0
        self._waiting: dict[int, list[Callable[[], None]]] = {}

    def open(self, generation: int) -> WriteEnds:
        """Open the pipes of a generation that is to be launched. Raises OSError."""
        ends = WriteEnds()
        for log, target in enumerate(self._targets):
            try:
                reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                ends.close()
                raise
            ends.append(writer, target.descriptors)
            # The program's end blocks, as programs expect; each end has its own O_NONBLOCK flag.
            os.set_blocking(writer, True)
            # Beyond fs.pipe-user-pages-soft the pipe keeps its default size.
            with contextlib.suppress(OSError):
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _SIZE)
            self._last += 1
            self._pipes[self._last] = _Pipe(generation, log, reader)
            self._tell({"add": self._last, "log": log}, reader)
        return ends

    def tell_all(self) -> None:
        """Send all open pipes to a new log pump."""
        for key, pipe in self._pipes.items():
            if pipe.fd >= 0:
                self._tell({"add": key, "log": pipe.log}, pipe.fd)

    def forget(self, generation: int) -> None:
        """Forget a generation that is gone: nobody asks for its last lines any more."""
        for key, pipe in tuple(self._pipes.items()):
            if pipe.generation == generation:
                pipe.generation = 0
                self._drop(key, pipe)

    def tails(self, generation: int, done: Callable[[list[list[str]]], None]) -> None:
        """Call `done` soon, with the last lines of each pipe, those of standard error last."""
        asked = [(key, pipe) for key, pipe in self._pipes.items() if pipe.generation == generation]
        found: dict[int, list[str]] = {}

        def answer(key: int, lines: list[str]) -> None:
            found[key] = lines
            if len(found) == len(asked):
                done([found[key] for key, _ in asked])

        if not asked:
            done([])
        for key, pipe in asked:
            self._ask(key, pipe, partial(answer, key))

    def lines(self, generation: int) -> int | None:
        """Return how many lines of its standard error were read at the call before; None if the log
        pump has not told, or if the log has its standard output as well.
        """
        for key, pipe in self._pipes.items():
            if pipe.generation == generation and self._targets[pipe.log].descriptors == (STDERR,):
                if pipe.fd >= 0:
                    self._tell({"count": key}, None)
                return pipe.lines
        return None

    def waiting(self) -> bool:
        """Whether the log pump still has to answer a request for last lines."""
        return bool(self._waiting)

    def counted(self, message: Message) -> None:
        """Take note of the number of lines of a pipe."""
        if pipe := self._pipes.get(message["counted"]):
            pipe.lines = message["lines"]

    def learn(self, message: Message) -> None:
        """Take note of the last lines of a pipe, or of its end."""
        key = message["key"]
        pipe = self._pipes.get(key)
        if pipe is None:
            return
        pipe.tail = message["tail"]
        for answer in tuple(self._waiting.get(key, ())):
            answer()
        if message["ended"] and pipe.fd >= 0:
            os.close(pipe.fd)
            pipe.fd = -1
            self._drop(key, pipe)

    def carried(self) -> tuple[int, tuple[CarriedLogPipe, ...]]:
        """Return (the last number, the open pipes) to carry over an upgrade."""
        from sockact.supervisor.records.carried_state import CarriedLogPipe

        found = ((key, one) for key, one in self._pipes.items() if one.fd >= 0)
        return self._last, tuple(
            CarriedLogPipe(key, one.generation, one.log, one.fd) for key, one in found
        )

    def take_over(self, last: int, carried: Iterable[CarriedLogPipe]) -> None:
        """Continue with the pipes that an upgrade carried over."""
        self._last = last
        self._pipes = {one.key: _Pipe(one.generation, one.log, one.fd) for one in carried}

    def close(self) -> None:
        """Close all pipes."""
        for pipe in self._pipes.values():
            if pipe.fd >= 0:
                os.close(pipe.fd)
        self._pipes.clear()

    def _ask(self, key: int, pipe: _Pipe, done: Callable[[list[str]], None]) -> None:
        if pipe.fd < 0:
            done(_lines(pipe))
            return

        def answer() -> None:
            timer.cancel()
            self._waiting[key].remove(answer)
            if not self._waiting[key]:
                del self._waiting[key]
            done(_lines(pipe))

        timer = self._loop.at(time.monotonic() + _TAIL_WITHIN, answer)
        self._waiting.setdefault(key, []).append(answer)
        self._tell({"tail": key}, None)

    def _drop(self, key: int, pipe: _Pipe) -> None:
        if pipe.fd < 0 and not pipe.generation:
            del self._pipes[key]


def _lines(pipe: _Pipe) -> list[str]:
    return pipe.tail.splitlines()[-TAIL_LINES:]
