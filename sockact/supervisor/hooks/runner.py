"""Runs hooks: docs/hooks.md. Those of one generation one after the other, of several side by side.

A hook is no process of a generation. Whatever it writes is read, so that it never waits for that,
and only its last line is kept.
"""

from __future__ import annotations

import os
from functools import partial

from sockact.core.record import dataclass
from sockact.kernel import memfd
from sockact.supervisor.base.commands import Command, CommandRun
from sockact.supervisor.base.output_relay import OutputRelay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockact.core.lifecycle.model import Exit
    from sockact.supervisor.base.loop import Loop

    # The environment, and what is written to stdin; None: not to be had yet.
    Told = tuple[Mapping[str, str], bytes]

MOST = 32
"""So many events may wait for their commands to be run."""
_LONGEST = 200


@dataclass(frozen=True)
class HookBatch:
    """The commands of one event, one after the other."""

    generation: int
    commands: tuple[tuple[str, ...], ...]
    timeout: float
    """Seconds for each command."""
    tell: Callable[[], Told | None]
    """What the commands are told, asked for at the begin of each."""
    failed: Callable[[str], None]
    """Hears of each command that fails."""
    ended: Callable[[str], None]
    """Hears once that all is over, with the first failure, if there was one."""
    to_the_end: bool = True
    """Commands after one that has failed are run all the same."""


class _Run:
    """A round under way."""

    def __init__(self, loop: Loop, null: int, round: HookBatch, over: Callable[[], None]) -> None:
        self._loop = loop
        self._null = null
        self._round = round
        self._over = over
        self._left = list(round.commands)
        self._reason = ""
        self._attempt: CommandRun | None = None
        self._pump: OutputRelay | None = None

    def begin(self) -> None:
        """Run the next command, if none is under way and there is something to tell it."""
        if self._attempt is not None or (told := self._round.tell()) is None:
            return
        words = self._left.pop(0)
        try:
            self._start(words, *told)
        except OSError as error:
            self._ended(words, f"it cannot be started: {error.strerror}")

    def reaped(self, pid: int, exit: Exit) -> None:
        if self._attempt is not None:
            self._attempt.reaped(pid, exit)

    def abandon(self) -> None:
        if self._attempt is not None:
            self._attempt.abandon()
        if self._pump is not None:
            self._pump.close()

    def _start(self, words: tuple[str, ...], environment: Mapping[str, str], data: bytes) -> None:
        stdin = memfd.sealed("sockact-hook", data)
        try:
            os.lseek(stdin, 0, os.SEEK_SET)
            self._pump = OutputRelay(self._loop, self._null)
            command = Command(words, stdin=stdin, output=self._pump.write_end)
            timeout = self._round.timeout
            done = partial(self._ended, words)
            self._attempt = CommandRun(self._loop, command, environment, timeout, done)
            self._pump.launched()
        finally:
            os.close(stdin)

    def _ended(self, words: tuple[str, ...], reason: str) -> None:
        self._attempt = None
        last = ""
        if self._pump is not None:
            lines = [line for line in self._pump.tail() if line.strip()]
            last = " ".join(lines[-1].split())[:_LONGEST] if lines else ""
            self._pump.close()
            self._pump = None
        if reason:
            reason = f"{words[0]}: {reason}" + (f": {last}" if last else "")
            self._reason = self._reason or reason
            self._round.failed(reason)
        if self._left and (self._round.to_the_end or not self._reason):
            self.begin()
            return
        self._over()
        self._round.ended(self._reason)


class HookRunner:
    """Of one service."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._waiting: dict[int, list[HookBatch]] = {}
        self._running: dict[int, _Run] = {}
        self._then: Callable[[], None] | None = None

    def add(self, round: HookBatch) -> None:
        """Run it as soon as those of the same generation that came before have ended."""
        if sum(map(len, self._waiting.values())) >= MOST:
            reason = f"it was not run: {MOST} others wait"
            round.failed(reason)
            round.ended(reason)
            return
        self._waiting.setdefault(round.generation, []).append(round)
        self.look(round.generation)

    def look(self, generation: int) -> None:
        """Go on with this generation: something to be told may have become known."""
        run = self._running.get(generation)
        if run is None:
            if generation not in self._waiting:
                return
            round = self._waiting[generation].pop(0)
            if not self._waiting[generation]:
                del self._waiting[generation]
            over = partial(self._over, generation)
            run = self._running[generation] = _Run(self._loop, self._null, round, over)
        run.begin()

    def busy(self) -> bool:
        """Is one under way, or waiting?"""
        return bool(self._running or self._waiting)

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call it as soon as none is under way or waiting, by `settle` at the earliest."""
        self._then = then

    def settle(self) -> None:
        """Whatever is due was added."""
        if self._then is not None and not self.busy():
            then, self._then = self._then, None
            then()

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps a hook."""
        for run in tuple(self._running.values()):
            run.reaped(pid, exit)

    def abandon(self) -> None:
        """Kill those that run, and forget those that wait."""
        for run in self._running.values():
            run.abandon()
        self._running.clear()
        self._waiting.clear()
        self.settle()

    def close(self) -> None:
        """Let go of everything."""
        self.abandon()
        os.close(self._null)

    def _over(self, generation: int) -> None:
        del self._running[generation]
        # Not at once: what follows of this one comes first.
        self._loop.at(0.0, partial(self._next, generation))

    def _next(self, generation: int) -> None:
        self.look(generation)
        self.settle()
