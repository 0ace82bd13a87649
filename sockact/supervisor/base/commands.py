"""Runs of a probe: each is a process of its own, so that the supervisor only hears how it ended."""

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
"""Seconds: what speaks says more of a timeout than we could."""


@dataclass(frozen=True)
class Command:
    """What to execute. `speaks`: it writes one line that says how it failed; `stdin`: what it reads
    from, if anything. Of what it writes, `longest` bytes are kept; with `output` it all goes there.
    """

    words: tuple[str, ...]
    speaks: bool = False
    stdin: int | None = None
    longest: int = 200
    output: int | None = None


def of_shell(command: str) -> Command:
    """A command line, for exec:COMMAND; status 0 passes."""
    return Command(("/bin/sh", "-c", command))


def of_ours(caller: str, program: str, *arguments: str) -> Command:
    """A Python program in the same directory as the file `caller`."""
    path = os.path.join(os.path.dirname(os.path.abspath(caller)), program)
    words = (sys.executable, "-I", "-S", path, *arguments)
    return Command(words, speaks=True)


class Attempts:
    """One after the other. `done` hears of each: "" when it passed, else the reason."""

    def __init__(
        self,
        loop: Loop,
        command: Command,
        environment: Mapping[str, str],
        timeout: float | None,
        done: Callable[[str], None],
    ) -> None:
        self._loop = loop
        self._command = command
        self._environment = environment
        self._timeout = timeout
        self._done = done
        self._running: Attempt | None = None

    def begin(self) -> None:
        """Start one, unless one is under way."""
        if self._running is not None:
            return
        try:
            self._running = Attempt(
                self._loop, self._command, self._environment, self._timeout, self._over
            )
        except OSError as error:
            # No process left (EAGAIN), or Python replaced meanwhile: it may work the next time.
            self._done(f"cannot be started: {error.strerror}")

    @property
    def under_way(self) -> bool:
        """Has one not ended yet?"""
        return self._running is not None

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps the attempt under way."""
        if self._running is not None and self._running.pid == pid:
            self._running.ended(exit)

    def stop(self) -> None:
        """Kill the one under way; `done` does not hear of it."""
        if self._running is not None:
            self._running.abandon()
            self._running = None

    def _over(self, reason: str) -> None:
        self._running = None
        self._done(reason)


class Attempt:
    """A run under way. `done` is called once, with "" when it passed, else with the reason."""

    def __init__(
        self,
        loop: Loop,
        command: Command,
        environment: Mapping[str, str],
        timeout: float | None,
        done: Callable[[str], None],
    ) -> None:
        """Start it. Raises OSError when there is no process to be had, or no program."""
        self.said = ""
        """What it wrote, once it has ended."""
        self._heard = ""
        self._done = done
        self._said = -1
        self._longest = command.longest
        self._late = ""
        self.pid = self._spawn(command, environment)
        self._timer: Timer | None = None
        if timeout is not None:
            limit = timeout + (_GRACE if command.speaks else 0.0)
            self._timer = loop.at(time.monotonic() + limit, partial(self._time_out, timeout))

    def ended(self, exit: Exit) -> None:
        """The process has been reaped."""
        self.said = self._close()
        self._done("" if exit.clean else self._late or self.said or str(exit))

    def first_line(self) -> str:
        """Of what it wrote, once it has ended."""
        return self._heard.strip().partition("\n")[0]

    def abandon(self) -> None:
        """Nobody wants to know any more; what is killed here is reaped like any child."""
        self._close()
        self._kill()

    def _time_out(self, seconds: float) -> None:
        self._late = f"took more than {seconds:g} s"
        if not self._kill():
            self._close()
            self._done(f"{self._late}, and the kernel refuses to kill process {self.pid}")

    def _kill(self) -> bool:
        # It leads a group of its own, and is not reaped yet: the number is not another's.
        # Itself as well: it may have gone into another group.
        for kill in (os.killpg, os.kill):
            try:
                kill(self.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            except PermissionError:
                return False  # It runs as another user, by sudo, say.
        return True

    def _close(self) -> str:
        if self._timer:
            self._timer.cancel()
        return self._hear()

    def _spawn(self, command: Command, environment: Mapping[str, str]) -> int:
        null = [(os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0) for fd in (0, 1, 2)]
        actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [*null]
        theirs = -1
        if command.speaks:
            self._said, theirs = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            actions.append((os.POSIX_SPAWN_DUP2, theirs, 1))
        if command.output is not None:
            actions += [(os.POSIX_SPAWN_DUP2, command.output, fd) for fd in (1, 2)]
        if command.stdin is not None:
            actions.append((os.POSIX_SPAWN_DUP2, command.stdin, 0))
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
            self._hear()
            raise
        finally:
            if theirs >= 0:
                os.close(theirs)

    def _hear(self) -> str:
        """What it wrote, as far as it fits into one line."""
        if self._said < 0:
            return ""
        try:
            text = os.read(self._said, self._longest)
        except BlockingIOError:
            text = b""
        os.close(self._said)
        self._said = -1
        self._heard = text.decode(errors="replace")
        return " ".join(self._heard.split())
