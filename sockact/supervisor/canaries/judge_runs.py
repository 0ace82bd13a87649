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
        self.said = Judgement(Verdict.PENDING, (reason,))


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
        self._left: list[_Judge] = []
        """Those that are still to be asked in this round; the first one is being asked."""
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
        """Ask all of them anew, now. An answer that is under way counts for this step."""
        for judge in self._judges:
            judge.forget()
        if self._run is None:
            self._begin_round()
        else:
            asked = self._left[0]
            self._left = [asked, *(judge for judge in self._judges if judge is not asked)]

    def stop(self) -> None:
        """Ask no more, and kill the current run."""
        if self._timer:
            self._timer.cancel()
        if self._run:
            self._run.abandon()
            self._run = None
        self._close_relay()
        os.close(self._null)

    def _begin_round(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._left = [*self._judges]
        self._ask()

    def _ask(self) -> None:
        judge = self._left[0]
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
        self._hear(self._left[0], status, said)

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
        del self._left[0]
        now = time.monotonic()
        if self._left:
            self._timer = self._loop.at(now, self._ask)
        else:
            self._timer = self._loop.at(now + _EVERY, self._begin_round)
        self._asking.heard()

    def _close_relay(self) -> None:
        if self._relay:
            self._relay.close()
            self._relay = None
