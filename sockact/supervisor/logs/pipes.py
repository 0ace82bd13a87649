"""The pipes through which generations write to the logs: docs/logs.md.

The supervisor keeps their read ends for the next log pump, and never reads from them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time

from sockact.supervisor.base.output_relay import TAIL_LINES
from sockact.supervisor.logs.targets import STDERR
from sockact.supervisor.records.carried_state import CarriedLogPipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.logs.channel import Message
    from sockact.supervisor.logs.targets import Target

    Tell = Callable[[Message, int | None], None]

_SIZE = 1 << 20
_TAIL_WITHIN = 1.0


class WriteEnds:
    """What one generation gets, until the program has it."""

    def __init__(self) -> None:
        self._ends: list[tuple[int, tuple[int, ...]]] = []

    def append(self, end: int, descriptors: tuple[int, ...]) -> None:
        """It takes the place of these standard descriptors."""
        self._ends.append((end, descriptors))

    @property
    def descriptors(self) -> tuple[int, ...]:
        """Which are written to a log."""
        return tuple(fd for _end, fds in self._ends for fd in fds)

    def lay(self) -> tuple[tuple[int, int], ...]:
        """(descriptor, what it takes the place of)."""
        return tuple((end, fd) for end, fds in self._ends for fd in fds)

    def close(self) -> None:
        """The program has them, or there will be none."""
        for end, _fds in self._ends:
            os.close(end)
        self._ends.clear()


class _Pipe:
    """From one generation to one log."""

    def __init__(self, generation: int, log: int, fd: int) -> None:
        self.generation = generation
        """0: it is gone."""
        self.log = log
        self.fd = fd
        """-1: at its end, and closed."""
        self.tail = ""


class Pipes:
    """All of them, by a number that the log pump knows them by."""

    def __init__(self, loop: Loop, targets: tuple[Target, ...], tell: Tell) -> None:
        self._loop = loop
        self._targets = targets
        self._tell = tell
        self._pipes: dict[int, _Pipe] = {}
        self._last = 0
        self._waiting: dict[int, list[Callable[[], None]]] = {}

    def open(self, generation: int) -> WriteEnds:
        """For a generation that is to be launched. Raises OSError."""
        ends = WriteEnds()
        for log, target in enumerate(self._targets):
            try:
                reader, writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                ends.close()
                raise
            ends.append(writer, target.descriptors)
            # The program's end blocks, as any does; the flag is of each end's own description.
            os.set_blocking(writer, True)
            # Above fs.pipe-user-pages-soft what there is has to do.
            with contextlib.suppress(OSError):
                fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _SIZE)
            self._last += 1
            self._pipes[self._last] = _Pipe(generation, log, reader)
            self._tell({"add": self._last, "log": log}, reader)
        return ends

    def tell_all(self) -> None:
        """To a log pump that has just begun."""
        for key, pipe in self._pipes.items():
            if pipe.fd >= 0:
                self._tell({"add": key, "log": pipe.log}, pipe.fd)

    def forget(self, generation: int) -> None:
        """It is gone: nobody asks for its last lines any more."""
        for key, pipe in tuple(self._pipes.items()):
            if pipe.generation == generation:
                pipe.generation = 0
                self._drop(key, pipe)

    def tail(self, generation: int, done: Callable[[list[str]], None]) -> None:
        """Tell `done` what was last written along with its standard error, in a moment."""
        for key, pipe in self._pipes.items():
            if pipe.generation == generation and STDERR in self._targets[pipe.log].descriptors:
                self._ask(key, pipe, done)
                return
        done([])

    def waiting(self) -> bool:
        """Has the log pump not told the last lines yet that somebody wants?"""
        return bool(self._waiting)

    def learn(self, message: Message) -> None:
        """The last lines of a pipe, or its end."""
        key = message["key"]
        pipe = self._pipes.get(key)
        if pipe is None:
            return
        pipe.tail = message["tail"]
        for answer in tuple(self._waiting.get(key, ())):
            answer()
        if message["ended"]:
            os.close(pipe.fd)
            pipe.fd = -1
            self._drop(key, pipe)

    def carried(self) -> tuple[int, tuple[CarriedLogPipe, ...]]:
        """(the last number, those that are open) for the supervisor that takes our place."""
        found = ((key, one) for key, one in self._pipes.items() if one.fd >= 0)
        return self._last, tuple(
            CarriedLogPipe(key, one.generation, one.log, one.fd) for key, one in found
        )

    def take_over(self, last: int, carried: Iterable[CarriedLogPipe]) -> None:
        """Those of an earlier version of us."""
        self._last = last
        self._pipes = {one.key: _Pipe(one.generation, one.log, one.fd) for one in carried}

    def close(self) -> None:
        """Let go of all."""
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
