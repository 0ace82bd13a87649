"""Having everybody reopen the log files that were moved: `sockact rotate` and SIGUSR1.

Each part is told at the same time, and the answer comes when all are done: then nothing goes to the
old files any more, but for what the answer names. Who asks meanwhile may have moved a file that was
looked at already, so another rotation follows, which all of these share.
"""

from __future__ import annotations

from functools import partial

from sockact.core.record import dataclass, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.core.plain import Json

    class Part(Protocol):
        """Something that has log files open."""

        @property
        def files(self) -> int:
            """How many."""

        def reopen(self, done: Callable[[str], None]) -> None:
            """Reopen them; `done` is called once, within seconds, with what failed or ""."""


@dataclass(frozen=True)
class Failed:
    """What could not be reopened, by which process; 0 for the supervisor itself."""

    pid: int
    error: str


@dataclass(frozen=True)
class RotationResult:
    """How a rotation ended: the processes whose shim has answered, the files that they and we have
    reopened, summed up, and the processes that got the signal.
    """

    processes: int = 0
    files: int = 0
    signalled: int = 0
    failed: tuple[Failed, ...] = ()

    def to_json(self) -> Json:
        """The Rotation of docs/control.md."""
        errors = [{"pid": one.pid or None, "error": one.error} for one in self.failed]
        return {
            "processes": self.processes,
            "files": self.files,
            "signalled": self.signalled,
            "errors": errors,
        }

    def describe(self) -> str:
        """In one line, for the journal."""
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
            """As a Part, with more to tell."""


class Rotation:
    """One service's; `parts` are to be told besides the program."""

    def __init__(self, program: Program, parts: tuple[Part, ...] = ()) -> None:
        self._parts = parts
        self._program = program
        self._asked: list[Done] = []
        self._next: list[Done] = []
        self._missing = 0
        self._rotated = RotationResult()

    def busy(self) -> bool:
        """Is one under way?"""
        return bool(self._missing)

    def ask(self, done: Done) -> Callable[[], None]:
        """Rotate, after the rotation that is under way; what it returns is for who leaves."""
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
        self._rotated = RotationResult()
        self._missing = 1 + len(self._parts)
        for part in self._parts:
            part.reopen(partial(self._part_done, part))
        self._program.reopen(self._program_done)

    def _part_done(self, part: Part, error: str) -> None:
        before = self._rotated
        if error:
            self._rotated = replace(before, failed=(*before.failed, Failed(0, error)))
        else:
            self._rotated = replace(before, files=before.files + part.files)
        self._one_done()

    def _program_done(self, rotated: RotationResult) -> None:
        files, failed = self._rotated.files + rotated.files, self._rotated.failed + rotated.failed
        self._rotated = replace(rotated, files=files, failed=failed)
        self._one_done()

    def _one_done(self) -> None:
        self._missing -= 1
        if self._missing:
            return
        asked, self._asked = self._asked, []
        for done in asked:
            done(self._rotated)
        if self._next and not self._missing:
            self._begin()
