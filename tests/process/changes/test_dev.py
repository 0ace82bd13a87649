"""`sockact dev`: a program at the terminal, which reloads when its source changes."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.support import wait
from tests.support.program import Program, connect
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Session:
    """`sockact dev` on a terminal."""

    def __init__(self, folder: Path, program: Program) -> None:
        self._out = folder / "out"
        environment = {**os.environ, "SOCKACT_RUNTIME_DIR": str(folder / "run")}
        environment["SOCKACT_STATE_DIR"] = str(folder / "state")
        options = ("--name", "app", "--listen", *program.listen)
        with self._out.open("wb") as out:
            self.process = subprocess.Popen(
                [*SOCKACT, "dev", *options, "--", *program.command],
                cwd=program.path.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )

    @property
    def text(self) -> str:
        """The output so far."""
        return self._out.read_text()

    def shows(self, line: str, times: int = 1) -> None:
        """Wait until the output has this text."""
        wait.until(lambda: self.text.count(line) >= times, f"{line!r}")

    def interrupt(self) -> int:
        """Ctrl-C; the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(wait.TIMEOUT)


@contextlib.contextmanager
def session(folder: Path, program: Program) -> Iterator[Session]:
    found = Session(folder, program)
    try:
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.wait()


def test_a_session(folder: Path) -> None:
    (folder / "source").mkdir()
    program = Program(folder / "source")
    with session(folder, program) as one:
        one.shows("sockact: app: generation 1: serving\n")
        assert f"sockact: app: watching {folder}/source\n" in one.text
        program.publish("2")
        one.shows("1 file changed (program.py), reloaded in ")
        assert program.ask() == "2"
        program.publish("3", "raise SystemExit('that is wrong')\n")
        one.shows(
            "sockact: app: 1 file changed (program.py), but the new version failed; "
            "still running the previous one\n"
        )
        assert "that is wrong\n" in one.text
        assert "reload failed: the program exited with status 1" in one.text
        assert program.ask() == "2"
        (folder / "source" / "test.db").write_text("1")
        program.publish("4")
        one.shows("1 file changed (program.py), reloaded in ", times=2)
        assert program.ask() == "4"
        with connect(("127.0.0.1", program.port)):
            assert one.interrupt() == 0
        ours = [line for line in one.text.splitlines() if line.startswith("sockact: ")]
        assert len(ours) == 6, ours


def test_it_says_what_to_write(folder: Path) -> None:
    for words, address in (
        (("uvicorn", "--host", "::1", "--port", "8765", "a:a"), "[::1]:8765"),
        (("gunicorn", "-b", "unix:/run/a.sock", "a:a"), "/run/a.sock"),
        (("./server",), "127.0.0.1:8000"),
    ):
        done = subprocess.run(
            [*SOCKACT, "dev", "--", *words], capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert f"as in `sockact dev --listen {address} -- {words[0]} …`" in done.stderr
    done = subprocess.run([*SOCKACT, "dev"], capture_output=True, text=True, check=False)
    assert (done.returncode, "sockact dev" in done.stderr) == (2, True)
