"""Judges as processes: one after the other, with a deadline, whatever they write."""

from __future__ import annotations

import itertools
import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from sockact.core.canary.verdict import Verdict
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.canaries import judge_runs
from sockact.supervisor.canaries.judge_runs import Asking, JudgeRuns
from tests.support import wait
from tests.support.reaping import reap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

VALUES = {"generation": "2", "version": "b", "baseline": "1", "baseline_version": "a"}


class Rig:
    """A loop, and judges that are asked on it."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.loop.catch([signal.SIGCHLD], partial(reap, self.loop))
        self.reported: list[str] = []
        self.runs: JudgeRuns | None = None
        self._wanted: Callable[[], bool] = bool

    def ask(self, *judges: str) -> JudgeRuns:
        asking = Asking(VALUES, os.environ, self._heard, self.reported.append)
        self.runs = JudgeRuns(self.loop, judges, asking)
        self.runs.begin_step()
        return self.runs

    def wait(self, wanted: Callable[[], bool]) -> None:
        """Run the loop until an answer makes this true."""
        self._wanted = wanted
        late = self.loop.at(time.monotonic() + wait.TIMEOUT, self.loop.stop)
        self.loop.run()
        late.cancel()
        assert wanted()

    def reasons(self) -> list[str]:
        assert self.runs
        return [str(one) for one in self.runs.said()]

    def close(self) -> None:
        if self.runs:
            self.runs.stop()
        self.loop.close()

    def _heard(self) -> None:
        if self._wanted():
            self.loop.stop()


@pytest.fixture
def rig() -> Iterator[Rig]:
    before = signal.getsignal(signal.SIGCHLD)
    made = Rig()
    yield made
    made.close()
    signal.signal(signal.SIGCHLD, before)


def test_one_after_the_other(rig: Rig, tmp_path: Path) -> None:
    log = tmp_path / "log"
    runs = rig.ask(f"exec:echo a >> {log}", f"exec:echo b >> {log}; echo no; exit 1", "exec:exit 9")
    assert runs.busy()
    assert rig.reasons() == [f"{name} has not answered yet" for name in ("echo", "echo", "exit")]
    rig.wait(lambda: not any("yet" in reason for reason in rig.reasons()))
    assert log.read_text().split() == ["a", "b"]
    assert [one.verdict for one in runs.said()] == [
        *(Verdict.BETTER_OR_SAME, Verdict.WORSE, Verdict.NOT_ENOUGH)
    ]
    assert rig.reasons() == ["echo: good", "echo: no", "exit cannot say: exited with status 9"]
    assert rig.reported == ["exit cannot say: exited with status 9"]
    assert not runs.busy()
    runs.begin_step()
    assert rig.reasons()[0] == "echo has not answered yet"
    assert runs.busy()


def test_a_step_that_begins_meanwhile(rig: Rig, tmp_path: Path) -> None:
    """All are asked, and what is under way counts."""
    log, go = tmp_path / "log", tmp_path / "go"
    os.mkfifo(go)
    runs = rig.ask(f"exec:echo a >> {log}", f"exec:read -r _ < {go}; echo b >> {log}")
    rig.wait(lambda: "yet" not in rig.reasons()[0])
    rig.loop.at(time.monotonic(), rig.loop.stop)
    rig.loop.run()  # The second one is asked.
    runs.begin_step()
    go.write_text("\n")
    rig.wait(lambda: not any("yet" in reason for reason in rig.reasons()))
    assert sorted(log.read_text().split()) == ["a", "a", "b"]


def test_output_without_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is read and thrown away until the deadline, and is no answer."""
    monkeypatch.setattr(judge_runs, "_WITHIN", 0.2)
    rig.ask("exec:yes")
    rig.wait(lambda: bool(rig.reported))
    assert rig.reasons() == ["yes cannot say: took more than 0.2 s"]


def test_a_reason_is_one_short_line(rig: Rig) -> None:
    rig.ask("exec:echo first; printf '%01000d\\t.\\n\\n' 7; exit 1")
    rig.wait(lambda: "yet" not in rig.reasons()[0])
    assert rig.reasons() == ["echo: " + "0" * 200]


def test_a_process_that_stays_behind_keeps_nobody_waiting(rig: Rig, tmp_path: Path) -> None:
    left = tmp_path / "left"
    rig.ask(f"exec:sleep 1000 & echo $! > {left}; echo late; exit 75")
    rig.wait(lambda: "yet" not in rig.reasons()[0])
    assert rig.reasons() == ["sleep cannot say: late"]
    os.kill(int(left.read_text()), signal.SIGKILL)


def test_the_same_doubt_is_reported_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_runs, "_EVERY", 0.0)
    rounds = itertools.count()
    rig.ask("exec:echo closed; exit 75")
    rig.wait(lambda: next(rounds) > 3)
    assert rig.reported == ["echo cannot say: closed"]
