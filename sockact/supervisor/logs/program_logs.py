"""Having the processes of all generations reopen their log files.

The first process of each generation gets the signal that --reopen-signal names. Every process with
the shim is told to reopen what was moved, and then those that were born meanwhile: forked by one
that had not heard yet, a process has the old files. In the end it is looked at from outside whether
anybody goes on writing to what has the name of a rotated log.
"""

from __future__ import annotations

import signal
import time
from functools import partial

from sockact.kernel import pidfd, procfs, written_files
from sockact.supervisor.logs.rotation import Failed, RotationResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls

# What was forked by somebody who had not heard yet is there when all have answered, and is told in
# the second round; its own children in the third. A program that forks for each request always has
# new ones, of parents that have heard.
_MOST_ROUNDS = 4
# The words come from the program.
_MOST_ERRORS = 50
# For a program to install its handler, and then to do what that says.
_SIGNAL_SECONDS = 3.0
_LOOK_EVERY = 0.1
_OLD_SHIM = "unknown order"


class ProgramLogs:
    """A rotation.Program."""

    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        calls: ShimCalls,
        signal_of: Callable[[int], int],
    ) -> None:
        """`signal_of`: the signal that a generation gets, 0 for none."""
        self._loop = loop
        self._processes = processes
        self._calls = calls
        self._signal_of = signal_of

    def reopen(self, done: Callable[[RotationResult], None]) -> None:
        """Tell everybody; `done` is called once, when all have answered or were given up."""
        _Round(self._loop, self._processes, self._calls, done).begin(self._signal_of)


class _Round:
    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        calls: ShimCalls,
        done: Callable[[RotationResult], None],
    ) -> None:
        self._loop = loop
        self._processes = processes
        self._calls = calls
        self._done = done
        self._told: set[int] = set()
        self._waiting: set[int] = set()
        self._telling = False
        self._rounds = 0
        self._answers = 0
        self._files = 0
        self._signalled = 0
        self._failed: list[Failed] = []

    def begin(self, signal_of: Callable[[int], int]) -> None:
        wanted = {}
        for generation, pids in self._living().items():
            root = self._processes.root(generation)
            if root in pids and (number := signal_of(generation)):
                wanted[root] = signal.Signals(number)
        self._signal_all(wanted, time.monotonic() + _SIGNAL_SECONDS)

    def _signal_all(self, wanted: dict[int, signal.Signals], until: float) -> None:
        """A program that is just starting gets time to install its handler: without, it dies."""
        late = {pid: number for pid, number in wanted.items() if not self._signal(number, pid)}
        if not late:
            self._look()
        elif time.monotonic() < until:
            again = partial(self._signal_all, late, until)
            self._loop.at(time.monotonic() + _LOOK_EVERY, again)
        else:
            for pid, number in sorted(late.items()):
                self._fail(pid, f"{number.name} is not sent: it has no handler, and would die")
            self._look()

    def _signal(self, number: signal.Signals, pid: int) -> bool:
        """False when the process would die of it now."""
        try:
            if not procfs.lives(pid):
                return True
            if not procfs.expects(pid, number):
                return False
            self._signalled += pidfd.send_signal(pid, number)
        except OSError as error:
            self._fail(pid, f"{number.name} cannot be sent: {error.strerror}")
        return True

    def _living(self) -> dict[int, list[int]]:
        try:
            return self._processes.by_generation()
        except OSError as error:
            self._fail(0, f"the processes cannot be looked at: {error.strerror}")
            return {}

    def _look(self) -> None:
        living = [pid for found in self._living().values() for pid in found]
        born = [pid for pid in living if pid not in self._told and self._reaches(pid)]
        if not born or self._rounds == _MOST_ROUNDS:
            self._prove(time.monotonic() + (_SIGNAL_SECONDS if self._signalled else 0.0))
            return
        self._rounds += 1
        self._told.update(born)
        self._waiting.update(born)
        self._telling = True
        for pid in born:
            heard = partial(self._heard, pid)
            self._calls.order(pid, "reopen", partial(self._answered, pid), heard=heard)
        self._telling = False
        self._go_on()

    def _prove(self, until: float, doubtful: list[int] | None = None) -> None:
        """Nobody answers a signal, and not all that a program writes to is known to the shim."""
        failed = {one.pid for one in self._failed}
        living = [pid for found in self._living().values() for pid in found if pid not in failed]
        if doubtful is not None:
            # The others were seen to write to new files, and to go through thousands of descriptors
            # again takes its time.
            living = [pid for pid in living if pid in doubtful]
        left = {pid: names for pid in living if (names := written_files.left_behind(pid))}
        if left and time.monotonic() < until:
            again = partial(self._prove, until, [*left])
            self._loop.at(time.monotonic() + _LOOK_EVERY, again)
            return
        for pid, names in left.items():
            self._fail(
                pid,
                f"goes on writing to {', '.join(names)}: name what makes it reopen with "
                "--reopen-signal, or rotate with copytruncate",
            )
        self._done(RotationResult(self._answers, self._files, self._signalled, tuple(self._failed)))

    def _go_on(self) -> None:
        if not self._waiting and not self._telling:
            self._look()

    def _reaches(self, pid: int) -> bool:
        try:
            return self._calls.reaches(pid)
        except OSError:
            return False  # hidden, or it cannot be told now

    def _heard(self, pid: int, words: list[str]) -> None:
        """`reopen NUMBER [! ERROR]…`"""
        count, *errors = " ".join(words[1:]).split(" ! ")
        self._answers += 1
        self._files += int(count) if count.isdecimal() else 0
        for error in errors:
            self._fail(pid, error)

    def _answered(self, pid: int, error: str) -> None:
        self._waiting.discard(pid)
        if error and self._matters(pid):
            self._fail(pid, _advised(error))
        self._go_on()

    def _matters(self, pid: int) -> bool:
        """One that has ended, or has become another program, has nothing open, and others may have
        nothing either: the master of uWSGI embeds Python, runs none and answers no call.
        """
        return procfs.lives(pid) and self._reaches(pid) and written_files.writes_files(pid)

    def _fail(self, pid: int, error: str) -> None:
        if len(self._failed) < _MOST_ERRORS:
            printable = "".join(c if c.isprintable() else "?" for c in error)
            self._failed.append(Failed(pid, printable))


def _advised(error: str) -> str:
    if _OLD_SHIM in error:
        return "its shim is of an older version of sockact: reload the service"
    return f"{error}: it may go on writing to old files; when it answers, rotate again"
