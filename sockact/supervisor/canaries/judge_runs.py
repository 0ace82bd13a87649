"""Asks the judges of a canary, one after the other: core/canary/judges.py.

Each runs as a process of its own with a deadline, like a probe. All of its output is read, so that
it never blocks, and only the last line is kept.
"""

from __future__ import annotations

import os
import time

from sockact.core.canary import judges
from sockact.core.canary.verdict import Judgement, Verdict
from sockact.core.record import dataclass, replace
from sockact.supervisor.base.commands import CommandRun, python_command, shell_command
from sockact.supervisor.base.output_relay import OutputRelay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockact.supervisor.base.commands import Command
    from sockact.supervisor.base.loop import Loop, Timer

_EVERY = 10.0
"""Seconds between two rounds."""
_WITHIN = 10.0
"""Seconds that a judge has for its answer."""
_LONGEST = 200
"""Characters of a reason."""
_WORSE = {judges.Command: 1, judges.Query: 10}
"""Exit status for a worse canary. A Python program that breaks exits with 1."""
_VARIABLES = {
    "generation": "SOCKACT_GENERATION",
    "version": "SOCKACT_VERSION",
    "baseline": "SOCKACT_PREDECESSOR",
    "baseline_version": "SOCKACT_PREDECESSOR_VERSION",
}


class _Judge:
    """A judge, and what it has said in this step."""

    def __init__(self, text: str) -> None:
        self.asked = judges.parse(text)
        self.reported = ""
        """Why it could not say, as reported."""
        self.forget()

    def forget(self) -> None:
        """Wait for an answer on the step that begins."""
        reason = f"{self.asked.name} has not answered yet"
        self.said = Judgement(Verdict.NOT_ENOUGH, (reason,))


@dataclass(frozen=True)
class Asking:
    """What judges are asked, and who hears their answers."""

    values: Mapping[str, str]
    """Those of judges.NAMES."""
    environment: Mapping[str, str]
    heard: Callable[[], None]
    """Called after each answer."""
    report: Callable[[str], None]
    """Gets what the operator should know."""


class JudgeRuns:
    """Asks all judges of one canary again and again, from `begin_step` until `stop`."""

    def __init__(self, loop: Loop, texts: tuple[str, ...], asking: Asking) -> None:
        self._loop = loop
        self._judges = [_Judge(text) for text in texts]
        self._asking = asking
        self._next = 0
        """The judge that is asked, or is asked next."""
        self._run: CommandRun | None = None
        self._relay: OutputRelay | None = None
        self._timer: Timer | None = None
        self._null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    def said(self) -> list[Judgement]:
        """Return what each has said in this step."""
        return [judge.said for judge in self._judges]

    def busy(self) -> bool:
        """Whether a judge is being asked."""
        return self._run is not None

    def begin_step(self) -> None:
        """Ask all of them anew, now."""
        for judge in self._judges:
            judge.forget()
        if self._run is None:
            self._next = 0
            self._ask()

    def stop(self) -> None:
        """Ask no more, and kill the current run."""
        if self._timer:
            self._timer.cancel()
        if self._run:
            self._run.abandon()
            self._run = None
        self._close_relay()
        os.close(self._null)

    def _ask(self) -> None:
        if self._timer:
            self._timer.cancel()
        judge = self._judges[self._next]
        try:
            self._relay = OutputRelay(self._loop, self._null)
            command = replace(self._command(judge.asked), output=self._relay.write_end)
            environment = {**self._asking.environment}
            for name, value in self._asking.values.items():
                environment[_VARIABLES[name]] = value
            # A query has a timeout of its own, and says more about it.
            seconds = _WITHIN if isinstance(judge.asked, judges.Command) else _WITHIN + 1
            self._run = CommandRun(self._loop, command, environment, seconds, self._ended)
            self._relay.launched()
        except OSError as error:
            self._close_relay()
            self._hear(judge, None, f"cannot start: {error.strerror}")

    def _command(self, asked: judges.Command | judges.Query) -> Command:
        if isinstance(asked, judges.Command):
            return shell_command(asked.line)
        query = judges.filled(asked.query, self._asking.values)
        numbers = str(_WORSE[judges.Query]), str(_WITHIN)
        words = *numbers, asked.url, asked.comparison, asked.limit, query
        return replace(python_command(__file__, "promql.py", *words), reports=False)

    def _ended(self, reason: str) -> None:
        assert self._run
        status = self._run.exit.status if self._run.exit else None
        lines = [line for line in self._relay.tail() if line.strip()] if self._relay else []
        last = " ".join(lines[-1].split())[:_LONGEST] if lines else ""
        self._run = None
        self._close_relay()
        said = reason if status is None else last or reason
        self._hear(self._judges[self._next], status, said)

    def _hear(self, judge: _Judge, status: int | None, reason: str) -> None:
        """Take an answer: its exit status (None: it did not end by itself), and its last line."""
        name = judge.asked.name
        if status == 0:
            judge.said = Judgement(Verdict.BETTER_OR_SAME, (f"{name}: {reason or 'good'}",))
        elif status == _WORSE[type(judge.asked)]:
            judge.said = Judgement(Verdict.WORSE, (f"{name}: {reason}",))
        else:
            text = f"{name} cannot say: {reason}"
            judge.said = Judgement(Verdict.NOT_ENOUGH, (text,))
            if text != judge.reported:
                judge.reported = text
                self._asking.report(text)
        self._next = (self._next + 1) % len(self._judges)
        pause = _EVERY if self._next == 0 else 0.0
        self._timer = self._loop.at(time.monotonic() + pause, self._ask)
        self._asking.heard()

    def _close_relay(self) -> None:
        if self._relay:
            self._relay.close()
            self._relay = None
