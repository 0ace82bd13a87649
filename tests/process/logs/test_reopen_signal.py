"""`sockact rotate` with programs that reopen their logs at a signal."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.process.logs.test_rotate import publish, rotate
from tests.support import wait
from tests.support.program import GOOD, Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService


@pytest.fixture
def log(folder: Path) -> Path:
    """A log in its own directory, as usual."""
    (folder / "log").mkdir()
    return folder / "log" / "app.log"


REOPENS = """
def open_log(*_):
    new = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(new, 9)
    os.close(new)
open_log()
"""
HANDLES = "signal.signal(signal.SIGUSR1, open_log)\n"


def test_the_signal_of_another_program(start: StartService, program: Program, log: Path) -> None:
    publish(program, log, "1", REOPENS + HANDLES + GOOD)
    command = [sys.executable, "-I", *program.command[1:]]
    service = start(command, listen=program.listen, options=("--reopen-signal", "usr1"))
    for number in (1, 2):
        outcome = rotate(service, log, number)
        assert (outcome.code, outcome.stdout) == (
            0,
            "test: 0 files reopened in 0 processes, 1 process signalled\n",
        )
        (pid,) = service.status()["generations"][0]["pids"]
        assert os.path.samefile(f"/proc/{pid}/fd/9", log)


@pytest.mark.parametrize("ignores", [False, True])
def test_a_process_that_the_signal_would_kill_does_not_get_it(
    start: StartService, program: Program, log: Path, ignores: bool
) -> None:
    handles = "signal.signal(signal.SIGUSR1, signal.SIG_IGN)\n" if ignores else ""
    publish(program, log, "1", REOPENS + handles + GOOD)
    command = [sys.executable, "-I", *program.command[1:]]
    service = start(command, listen=program.listen, options=("--reopen-signal", "USR1"))
    (pid,) = service.status()["generations"][0]["pids"]
    outcome = rotate(service, log, 1)
    assert outcome.code == 1
    why = f"still writes to {log}.1; " if ignores else "SIGUSR1 not sent: it has no handler"
    assert f"process {pid}: {why}" in outcome.stderr
    assert program.ask() == "1"


def test_a_process_that_keeps_writing_to_the_old_file_is_named(
    start: StartService, program: Program, log: Path
) -> None:
    """Nothing makes this one reopen its log; the result must say so."""
    publish(program, log, "1", REOPENS + GOOD)
    command = [sys.executable, "-I", *program.command[1:]]
    service = start(command, listen=program.listen)
    (pid,) = service.status()["generations"][0]["pids"]
    assert service.run("rotate", "test").code == 0
    outcome = rotate(service, log, 1)
    assert outcome.code == 1
    assert f"process {pid}: still writes to {log}.1" in outcome.stderr
    os.unlink(f"{log}.1")
    with suppress(FileNotFoundError):
        os.unlink(log)
    assert service.run("rotate", "test").code == 0


def test_the_shell_in_front_gets_the_signal(
    start: StartService, program: Program, folder: Path
) -> None:
    script = f"trap 'echo x >>{folder}/trapped' USR1; {' '.join(program.command)} & "
    service = start(
        ["sh", "-c", script + "while ! wait; do :; done; while :; do wait; done"],
        listen=program.listen,
        options=("--reopen-signal", "SIGUSR1"),
    )
    outcome = service.run("rotate", "test")
    assert "1 process signalled" in outcome.stdout
    wait.until((folder / "trapped").exists, "the trap")
    assert service.stop("--now") == 0
