"""Commands that run as child processes, so that the supervisor never waits for them."""

from __future__ import annotations

import os
import signal
import sys
import time
from functools import partial

from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sockact.core.lifecycle.model import Exit
    from sockact.supervisor.base.loop import Loop, Timer

_GRACE = 1.0
"""Seconds: a command that reports says more about its timeout than the supervisor could."""


@dataclass(frozen=True)
class Command:
    """A program and its arguments, and where its input and output go.

    With `reports`, the command writes one line that says how it failed; `longest` bytes of its
    standard output are kept. `stdin` is the descriptor that it reads from, /dev/null by default.
    `output` is the descriptor that receives all of its output. It has the descriptors `inherited`
    under the same numbers.
    """

    words: tuple[str, ...]
    reports: bool = False
    stdin: int | None = None
    longest: int = 200
    output: int | None = None
    inherited: tuple[int, ...] = ()


def shell_command(command_line: str) -> Command:
    """Return the command for exec:COMMAND; exit status 0 passes."""
    return Command(("/bin/sh", "-c", command_line))


def python_command(caller: str, program: str, *arguments: str) -> Command:
    """Return the command for a Python program in the same directory as the file `caller`."""
    path = os.path.join(os.path.dirname(os.path.abspath(caller)), program)
    words = (sys.executable, "-I", "-S", path, *arguments)
    return Command(words, reports=True)


class CommandRun:
    """A command in progress; `done` is called once, with "" if it passed, else with the reason."""

    def __init__(
        self,
        loop: Loop,
        command: Command,
        environment: Mapping[str, str],
        timeout: float | None,
        done: Callable[[str], None],
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the command. `release` is called when it needs its input no more, before `done`.

        Raises OSError if there is no such program, or no process left.
        """
        self.output = ""
        """The command's output in one line, once it has ended."""
        self.exit: Exit | None = None
        """How it ended by itself, once it has."""
        self._text = ""
        self._done = done
        self._release = release
        self._pipe = -1
        self._longest = command.longest
        self._late = ""
        self._loop = loop
        self.pid = self._spawn(command, environment)
        loop.watch_child(self.pid, self._ended)
        self._timer: Timer | None = None
        if timeout is not None:
            limit = timeout + (_GRACE if command.reports else 0.0)
            self._timer = loop.at(time.monotonic() + limit, partial(self._time_out, timeout))

    def first_line(self) -> str:
        """Return the first line of the output, once the command has ended."""
        return self._text.strip().partition("\n")[0]

    def abandon(self) -> None:
        """Kill the command without calling `done`; it is reaped like any child."""
        self._loop.unwatch_child(self.pid)
        self._close()
        self._kill()

    def _ended(self, exit: Exit) -> None:
        self.output = self._close()
        self.exit = None if self._late else exit
        self._done("" if exit.clean else self._late or self.output or str(exit))

    def _time_out(self, seconds: float) -> None:
        self._late = f"took more than {seconds:g} s"
        if not self._kill():
            self._loop.unwatch_child(self.pid)
            self._close()
            self._done(f"{self._late}, and the kernel refuses to kill process {self.pid}")

    def _kill(self) -> bool:
        # The command leads its own process group and is not reaped yet, so the number is still its
        # own. The process itself is killed as well: it may have moved to another group.
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:
                return False  # Runs as another user, with sudo for example.
        return True

    def _close(self) -> str:
        if self._timer:
            self._timer.cancel()
        self._release()
        return self._read()

    def _spawn(self, command: Command, environment: Mapping[str, str]) -> int:
        null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [*null]
        write_end = -1
        if command.reports:
            self._pipe, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            actions.append((os.POSIX_SPAWN_DUP2, write_end, 1))
        if command.output is not None:
            actions += [(os.POSIX_SPAWN_DUP2, command.output, fd) for fd in (1, 2)]
        if command.stdin is not None:
            actions.append((os.POSIX_SPAWN_DUP2, command.stdin, 0))
        # To its own number: that clears FD_CLOEXEC (posix_spawn_file_actions_adddup2(3)).
        actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in command.inherited]
        try:
            return os.posix_spawnp(
                command.words[0],
                command.words,
                environment,
                file_actions=actions,
                setpgroup=0,
                setsigmask=[],
                setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
            )
        except OSError:
            self._read()
            raise
        finally:
            if write_end >= 0:
                os.close(write_end)

    def _read(self) -> str:
        """Return the output in one line, as far as it is kept."""
        if self._pipe < 0:
            return ""
        try:
            text = os.read(self._pipe, self._longest)
        except BlockingIOError:
            text = b""
        os.close(self._pipe)
        self._pipe = -1
        self._text = text.decode(errors="replace")
        return " ".join(self._text.split())
