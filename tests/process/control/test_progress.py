"""Progress on a terminal: one live line on standard error, and nothing of it anywhere else."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import termios
from typing import TYPE_CHECKING

from sockact.cli.calls.progress import QUICK, describe
from tests.support import wait
from tests.support.program import GOOD, Program, connect
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

ERASED = "\r\x1b[K"
COLUMNS = 60


class Terminal:
    """A command with its standard error on a terminal."""

    def __init__(self, service: Service, *arguments: str) -> None:
        self._own, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("4H", 24, COLUMNS, 0, 0))
        self.seen = ""
        self.process = subprocess.Popen(
            [*SOCKACT, *arguments],
            env=service.environment | {"TERM": "xterm"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=other,
            text=True,
        )
        os.close(other)

    def wait_for(self, text: str) -> None:
        """Read until this text is on the terminal."""
        wait.until(lambda: self._read() and text in self.seen, f"{text!r} on the terminal")

    def end(self) -> str:
        """The standard output, once the command has succeeded; all of `seen` is read."""
        stdout, _ = self.process.communicate(timeout=wait.TIMEOUT)
        while self._read():
            pass
        assert self.process.returncode == 0, self.seen
        return stdout

    def _read(self) -> bool:
        """Whether there may be more to read."""
        try:
            text = os.read(self._own, 4096) if wait.readable(self._own, timeout=1.0) else b""
        except OSError:
            return False
        self.seen += text.decode()
        return True

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        os.close(self._own)


@contextlib.contextmanager
def on_terminal(service: Service, *arguments: str) -> Iterator[Terminal]:
    terminal = Terminal(service, *arguments)
    try:
        yield terminal
    finally:
        terminal.close()


def test_a_slow_start_and_a_drain(start: StartService, program: Program, folder: Path) -> None:
    service = start(program.command, listen=program.listen)
    go = folder / "go"
    os.mkfifo(go)
    program.publish("2", f"open({str(go)!r}).close()\n{GOOD}")
    with (
        connect(("127.0.0.1", program.port)) as client,
        on_terminal(service, "reload", "--wait-drained", "test") as terminal,
    ):
        client.sendall(b"slow 3")
        terminal.wait_for("test: generation 2 is starting, up to 1 min ")
        go.write_bytes(b"")
        terminal.wait_for("generation 1 is draining: 1 active, 0 new")
        stdout = terminal.end()
    assert stdout.startswith("test: generation 2 is serving")
    assert stdout.endswith("; generation 1 has drained\n")
    assert terminal.seen.endswith(ERASED)
    lines = terminal.seen.split(ERASED)
    assert all(len(line) < COLUMNS and "\n" not in line for line in lines)


def test_a_stop(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"slow 3")
        with on_terminal(service, "stop", "test") as terminal:
            terminal.wait_for("test: generation 1 is draining: 1 active")
            assert terminal.end() == "test: stopped\n"
    assert terminal.seen.endswith(ERASED)


def test_a_time_limit(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    program.publish("2", "signal.pause()\n")
    with on_terminal(service, "reload", "--timeout", f"{QUICK + 2.7}s", "test") as terminal:
        terminal.wait_for("generation 2 is starting")
        terminal.wait_for("no outcome within")
        assert terminal.process.wait(wait.TIMEOUT) == 4
    assert f"{ERASED}sockact: test: no outcome within 3 s" in terminal.seen


def test_nothing_is_left_of_what_is_quick(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen)
    with on_terminal(service, "rotate", "test") as terminal:
        assert terminal.end().startswith("test: 0 files reopened")
    assert not terminal.seen or terminal.seen.endswith(ERASED), "it took longer than QUICK"


def test_each_step_is_in_the_journal(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, options=("--trial", "50ms"))
    assert service.reload("--wait-drained").code == 0
    steps = [line.removeprefix("sockact: test: ") for line in service.stderr.splitlines()]
    assert [step for step in steps if "serving" not in step] == [
        "generation 1: starting",
        "generation 2: starting (reload: command)",
        "generation 2: ready; on trial for 0.05 s",
        "generation 1: draining for up to 60 s",
        "generation 1: all connections finished, sending SIGTERM",
        "generation 1: drained",
    ]


def test_systemd_hears_of_the_time_left(start: StartService, program: Program) -> None:
    service = start(program.command, listen=program.listen, ready=False)
    service.notify.wait_for("STATUS", "starting; generation 1 pending (up to 90 s left)")


def test_rotations_are_not_about_generations() -> None:
    one = {"number": 1, "state": "draining", "on_trial": False, "connections": None}
    draining = {"generations": [{**one, "seconds_left": 3.0}], "canary": None}
    assert describe("Rotate", draining) == "reopening log files"
    assert describe("Stop", draining) == "generation 1 is draining, up to 3 s left"
    assert describe("Stop", {"generations": [], "canary": None}) == "stopping"


def test_a_warm_up_is_in_the_progress() -> None:
    one = {"number": 2, "state": "running", "on_trial": False, "seconds_left": 28.4}
    for warming, text in (("", ""), ("45 requests, 1.2 s -> 15 ms",) * 2):
        status = {"generations": [{**one, "warming": warming}], "canary": None}
        progress = f": {text}" if text else ""
        assert describe("Reload", status) == (
            f"generation 2 is warming up{progress}, up to 28 s left"
        )
