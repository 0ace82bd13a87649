"""The log files that the program itself has open, and how its processes reopen them.

The first process of each generation gets the signal of --reopen-signal. Every process with the shim
is told to reopen files that were moved; then so are the processes forked meanwhile, because the
fork of a process that had not reopened yet has the old files. Finally, /proc shows whether a
process still writes to a file with the name of a rotated log.
"""

from __future__ import annotations

import signal
import time
from functools import partial

from sockact.core.numbers import whole
from sockact.kernel import pidfd, procfs
from sockact.supervisor.logs import written_files
from sockact.supervisor.logs.rotation import ReopenFailure, RotationResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls

# Processes forked before their parent had reopened are told in the second round, their own children
# in the third. A program that forks for each request always has new processes, but their parents
# have reopened.
_MOST_ROUNDS = 4
# The texts come from the program.
_MOST_ERRORS = 50
_MOST_FILES = 1_000_000
"""Files that one process may claim to have reopened."""
# For a program to install its handler, and then to run it.
_SIGNAL_SECONDS = 3.0
_LOOK_EVERY = 0.1
_OLD_SHIM = "unknown order"


class ProgramLogs:
    """Has all processes of a service reopen their log files; implements rotation.Program."""

    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        calls: ShimCalls,
        signal_of: Callable[[int], int],
    ) -> None:
        """`signal_of` returns the reopen signal of a generation, 0 for none."""
        self._loop = loop
        self._processes = processes
        self._calls = calls
        self._signal_of = signal_of

    def reopen(self, done: Callable[[RotationResult], None]) -> None:
        """Tell all processes; `done` is called once, when all have answered or were given up."""
        _Reopening(self._loop, self._processes, self._calls, done).begin(self._signal_of)


class _Reopening:
    """One reopening."""

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
        self._failed: list[ReopenFailure] = []

    def begin(self, signal_of: Callable[[int], int]) -> None:
        """Send the signals, then tell the shims."""
        wanted = {}
        for generation, pids in self._living().items():
            root = self._processes.root(generation)
            if root in pids and (number := signal_of(generation)):
                wanted[root] = signal.Signals(number)
        self._signal_all(wanted, time.monotonic() + _SIGNAL_SECONDS)

    def _signal_all(self, wanted: dict[int, signal.Signals], until: float) -> None:
        """Signal the processes; a program that is starting gets time to install its handler."""
        late = {pid: number for pid, number in wanted.items() if not self._signal(number, pid)}
        if not late:
            self._look()
        elif time.monotonic() < until:
            again = partial(self._signal_all, late, until)
            self._loop.at(time.monotonic() + _LOOK_EVERY, again)
        else:
            for pid, number in sorted(late.items()):
                self._fail(
                    pid,
                    f"{number.name} not sent: it has no handler, and would kill the process",
                )
            self._look()

    def _signal(self, number: signal.Signals, pid: int) -> bool:
        """Send the signal; return False if it would kill the process now."""
        try:
            if not procfs.lives(pid):
                return True
            if not procfs.expects(pid, number):
                return False
            self._signalled += pidfd.send_signal(pid, number)
        except OSError as error:
            self._fail(pid, f"cannot send {number.name}: {error.strerror}")
        return True

    def _living(self) -> dict[int, list[int]]:
        try:
            return self._processes.by_generation()
        except OSError as error:
            self._fail(0, f"cannot list the processes: {error.strerror}")
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
        """Check the files: signals get no answer, and the shim does not know all files."""
        failed = {one.pid for one in self._failed}
        living = [pid for found in self._living().values() for pid in found if pid not in failed]
        if doubtful is not None:
            # The others write to new files already.
            living = [pid for pid in living if pid in doubtful]
        left = {pid: names for pid in living if (names := written_files.left_behind(pid))}
        if left and time.monotonic() < until:
            again = partial(self._prove, until, [*left])
            self._loop.at(time.monotonic() + _LOOK_EVERY, again)
            return
        for pid, names in left.items():
            self._fail(
                pid,
                f"still writes to {', '.join(names)}; set --reopen-signal to the signal that makes "
                "it reopen its logs, or rotate with copytruncate",
            )
        self._done(RotationResult(self._answers, self._files, self._signalled, tuple(self._failed)))

    def _go_on(self) -> None:
        if not self._waiting and not self._telling:
            self._look()

    def _reaches(self, pid: int) -> bool:
        try:
            return self._calls.reaches(pid)
        except OSError:
            return False  # Hidden, or /proc is unavailable.

    def _heard(self, pid: int, words: list[str]) -> None:
        """Take note of an answer: `reopen NUMBER [! ERROR]…`"""
        count, *errors = " ".join(words[1:]).split(" ! ")
        self._answers += 1
        self._files += whole(count, _MOST_FILES) or 0
        for error in errors:
            self._fail(pid, error)

    def _answered(self, pid: int, error: str) -> None:
        self._waiting.discard(pid)
        if error and self._matters(pid):
            self._fail(pid, _advised(error))
        self._go_on()

    def _matters(self, pid: int) -> bool:
        """Whether a process that does not answer may write to old files.

        Not if it has ended or executed another program, and not without files: the master of uWSGI
        embeds Python but runs none, so it answers no call.
        """
        return procfs.lives(pid) and self._reaches(pid) and written_files.writes_files(pid)

    def _fail(self, pid: int, error: str) -> None:
        if len(self._failed) < _MOST_ERRORS:
            printable = "".join(c if c.isprintable() else "?" for c in error)
            self._failed.append(ReopenFailure(pid, printable))


def _advised(error: str) -> str:
    if _OLD_SHIM in error:
        return "its shim is from an older version of sockact; reload the service"
    return f"{error}; it may still write to old files; rotate again once it responds"
