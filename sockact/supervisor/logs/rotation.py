"""Log rotation, by `sockact rotate` and SIGUSR1: all writers reopen the files that were moved.

All parts are told at the same time, and callers are answered when all are done. Then nothing is
written to the old files any more, except by the processes that the answer names. A caller that asks
during a rotation may have moved a file that was already reopened, so another rotation follows,
shared by all such callers.
"""

from __future__ import annotations

from functools import partial

from sockact.core.record import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.core.json_data import Json

    class Part(Protocol):
        """A part of sockact that has log files open."""

        @property
        def files(self) -> int:
            """Number of its files."""

        def reopen(self, done: Callable[[str], None]) -> None:
            """Reopen them; call `done` once, within seconds, with what failed or ""."""


@dataclass(frozen=True)
class ReopenFailure:
    """Why a process could not reopen its files; pid 0 is the supervisor itself."""

    pid: int
    error: str


@dataclass(frozen=True)
class RotationResult:
    """The result of a rotation: the number of processes whose shim answered, of files that they and
    the parts reopened, and of processes that got a signal.
    """

    processes: int = 0
    files: int = 0
    signalled: int = 0
    failed: tuple[ReopenFailure, ...] = ()

    def to_json(self) -> Json:
        """Return the Rotation of docs/control.md."""
        errors = [{"pid": one.pid or None, "error": one.error} for one in self.failed]
        return {
            "processes": self.processes,
            "files": self.files,
            "signalled": self.signalled,
            "errors": errors,
        }

    def describe(self) -> str:
        """Return the result in one line, for the journal."""
        text = f"files reopened: {self.files}, processes told: {self.processes}"
        if self.signalled:
            text += f", signalled: {self.signalled}"
        for one in self.failed:
            text += f"; process {one.pid}: {one.error}" if one.pid else f"; {one.error}"
        return text


if TYPE_CHECKING:
    Done = Callable[[RotationResult], None]

    class Program(Protocol):
        """The processes of all generations."""

        def reopen(self, done: Done) -> None:
            """Reopen their files; call `done` once with the result."""


class Rotation:
    """Rotates the logs of a service: those of the program, and those of `parts`."""

    def __init__(self, program: Program, parts: tuple[Part, ...] = ()) -> None:
        self._parts = parts
        self._program = program
        self._asked: list[Done] = []
        self._next: list[Done] = []
        self._missing = 0
        self._result = RotationResult()

    def busy(self) -> bool:
        """Whether a rotation is in progress."""
        return bool(self._missing)

    def ask(self, done: Done) -> Callable[[], None]:
        """Rotate, after the current rotation if any; return a function for a caller that leaves."""
        if done not in self._next:
            self._next.append(done)
        if not self._missing:
            self._begin()

        def leave() -> None:
            for waiting in (self._asked, self._next):
                waiting[:] = [one for one in waiting if one is not done]

        return leave

    def _begin(self) -> None:
        self._asked, self._next = self._next, []
        self._result = RotationResult()
        self._missing = 1 + len(self._parts)
        for part in self._parts:
            part.reopen(partial(self._part_done, part))
        self._program.reopen(self._program_done)

    def _part_done(self, part: Part, error: str) -> None:
        before = self._result
        if error:
            self._result = replace(before, failed=(*before.failed, ReopenFailure(0, error)))
        else:
            self._result = replace(before, files=before.files + part.files)
        self._one_done()

    def _program_done(self, result: RotationResult) -> None:
        files, failed = self._result.files + result.files, self._result.failed + result.failed
        self._result = replace(result, files=files, failed=failed)
        self._one_done()

    def _one_done(self) -> None:
        self._missing -= 1
        if self._missing:
            return
        asked, self._asked = self._asked, []
        for done in asked:
            done(self._result)
        if self._next and not self._missing:
            self._begin()
