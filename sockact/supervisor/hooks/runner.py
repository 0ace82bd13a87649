"""Runs hooks: docs/hooks.md. Those of one generation in order, those of several in parallel.

A hook is not a process of a generation. All of its output is read, so that it never blocks, and
only the last line is kept.
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

    from sockact.supervisor.base.loop import Loop

    # (environment, standard input)
    HookInput = tuple[Mapping[str, str], bytes]

MOST = 32
"""Number of events that may wait for their commands to run."""
_LONGEST = 200


@dataclass(frozen=True)
class HookBatch:
    """The commands of one event, which run in order."""

    generation: int
    commands: tuple[tuple[str, ...], ...]
    timeout: float
    """Seconds for each command."""
    input: Callable[[], HookInput | None]
    """Returns the input of the next command; None while it is unknown."""
    failed: Callable[[str], None]
    """Called for each command that fails, with the reason."""
    ended: Callable[[str], None]
    """Called once at the end, with the reason of the first failure or ""."""
    to_the_end: bool = True
    """Whether to run the remaining commands after a failure."""
    latest: bool = False
    """Whether it takes the place of such a batch of its generation that still waits."""


class _Run:
    """A batch in progress."""

    def __init__(self, loop: Loop, null: int, batch: HookBatch, over: Callable[[], None]) -> None:
        self._loop = loop
        self._null = null
        self._batch = batch
        self._over = over
        self._left = list(batch.commands)
        self._reason = ""
        self._attempt: CommandRun | None = None
        self._relay: OutputRelay | None = None

    def begin(self) -> None:
        """Run the next command, unless one is in progress or its input is unknown."""
        if self._attempt is not None or (given := self._batch.input()) is None:
            return
        words = self._left.pop(0)
        try:
            self._start(words, *given)
        except OSError as error:
            self._ended(words, f"cannot start: {error.strerror}")

    def abandon(self) -> None:
        """Kill the current command, and run no more."""
        if self._attempt is not None:
            self._attempt.abandon()
        if self._relay is not None:
            self._relay.close()

    def _start(self, words: tuple[str, ...], environment: Mapping[str, str], data: bytes) -> None:
        stdin = memfd.sealed("sockact-hook", data)
        try:
            os.lseek(stdin, 0, os.SEEK_SET)
            self._relay = OutputRelay(self._loop, self._null)
            command = Command(words, stdin=stdin, output=self._relay.write_end)
            timeout = self._batch.timeout
            done = partial(self._ended, words)
            self._attempt = CommandRun(self._loop, command, environment, timeout, done)
            self._relay.launched()
        finally:
            os.close(stdin)

    def _ended(self, words: tuple[str, ...], reason: str) -> None:
        self._attempt = None
        last = ""
        if self._relay is not None:
            lines = [line for line in self._relay.tail() if line.strip()]
            last = " ".join(lines[-1].split())[:_LONGEST] if lines else ""
            self._relay.close()
            self._relay = None
        if reason:
            reason = f"{words[0]}: {reason}" + (f": {last}" if last else "")
            self._reason = self._reason or reason
            self._batch.failed(reason)
        if self._left and (self._batch.to_the_end or not self._reason):
            self.begin()
            return
        self._over()
        self._batch.ended(self._reason)


class HookRunner:
    """Runs the hooks of one service."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._waiting: dict[int, list[HookBatch]] = {}
        self._running: dict[int, _Run] = {}
        self._then: Callable[[], None] | None = None

    def add(self, batch: HookBatch) -> None:
        """Run a batch after the earlier ones of its generation."""
        if batch.latest:
            self._drop_outdated(batch.generation)
        if sum(map(len, self._waiting.values())) >= MOST:
            reason = f"not run: {MOST} other hooks are waiting"
            batch.failed(reason)
            batch.ended(reason)
            return
        self._waiting.setdefault(batch.generation, []).append(batch)
        self.look(batch.generation)

    def _drop_outdated(self, generation: int) -> None:
        waiting = self._waiting.pop(generation, [])
        if left := [one for one in waiting if not one.latest]:
            self._waiting[generation] = left

    def look(self, generation: int) -> None:
        """Continue with this generation, whose input may be known by now."""
        run = self._running.get(generation)
        if run is None:
            if generation not in self._waiting:
                return
            batch = self._waiting[generation].pop(0)
            if not self._waiting[generation]:
                del self._waiting[generation]
            over = partial(self._over, generation)
            run = self._running[generation] = _Run(self._loop, self._null, batch, over)
        run.begin()

    def busy(self) -> bool:
        """Whether a hook is running or waiting."""
        return bool(self._running or self._waiting)

    def when_idle(self, then: Callable[[], None]) -> None:
        """Call `then` once no hook is running or waiting, and not before the next `settle`."""
        self._then = then

    def settle(self) -> None:
        """Take note that all due hooks have been added."""
        if self._then is not None and not self.busy():
            then, self._then = self._then, None
            then()

    def abandon(self) -> None:
        """Kill the running hooks, and drop the waiting ones."""
        for run in self._running.values():
            run.abandon()
        self._running.clear()
        self._waiting.clear()
        self.settle()

    def close(self) -> None:
        """Abandon all hooks, and close the descriptors."""
        self.abandon()
        os.close(self._null)

    def _over(self, generation: int) -> None:
        del self._running[generation]
        # Not at once: the consequences of this batch come first.
        self._loop.at(0.0, partial(self._next, generation))

    def _next(self, generation: int) -> None:
        self.look(generation)
        self.settle()
