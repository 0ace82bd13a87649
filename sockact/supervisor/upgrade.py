"""Giving our place to the version of sockact that is installed now: docs/upgrade.md.

The process stays the same; the new version is executed in it. Before that it proves, as a child,
that it can be started and reads the state that we would leave. Whoever asked is answered by the new
version, or told here why everything goes on as it was.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from sockact.core.message_kinds import News
from sockact.kernel import memfd
from sockact.supervisor.base.commands import Command, CommandRun
from sockact.supervisor.records import carried_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from sockact.core.lifecycle.model import Exit
    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.records.carried_state import CarriedSupervisor

    Failed = Callable[[str], None]

VARIABLE = "SOCKACT_UPGRADE"
"""CHECK, or the number of the descriptor that the state is in."""
CHECK = "check"
PROOF = "can go on: "
"""How the answer of a CHECK begins that has succeeded."""

_PATIENCE = 30.0
"""Seconds until whoever asks hears that something else is under way."""
_CHECK_WITHIN = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0


class Upgrades:
    """At most one at a time; everybody who asks meanwhile shares it.

    `busy` tells what has to end first, `carry` gives the state while nothing has to.
    """

    def __init__(
        self,
        loop: Loop,
        signals: Iterable[signal.Signals],
        busy: Callable[[], str],
        carry: Callable[[], CarriedSupervisor],
        say: Callable[[str, News], None],
    ) -> None:
        self._loop = loop
        self._signals = tuple(signals)
        self._busy = busy
        self._carry = carry
        self._say = say
        self._waiting: list[Failed] = []
        self._timer: Timer | None = None
        self._attempt: CommandRun | None = None
        self._pause = _FIRST_PAUSE
        self._answer_at = 0.0

    def ask(self, failed: Failed) -> Callable[[], None]:
        """Do it as soon as nothing else is under way; what it returns is for a caller that leaves.

        The wish stays when the caller has left, or was told that it has to wait.
        """
        self._waiting.append(failed)
        self._answer_at = time.monotonic() + _PATIENCE
        if self._attempt is None:
            self._look_in(0.0)

        def leave() -> None:
            self._waiting = [one for one in self._waiting if one is not failed]

        return leave

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child has ended: perhaps the one that proves."""
        if self._attempt is not None:
            self._attempt.reaped(pid, exit)

    def close(self) -> None:
        """The service ends."""
        if self._timer:
            self._timer.cancel()
        if self._attempt:
            self._attempt.abandon()
            self._attempt = None
        self._answer("the service has stopped")

    def _look_in(self, pause: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._pause = max(pause, _FIRST_PAUSE)
        self._timer = self._loop.at(time.monotonic() + pause, self._look)

    def _look(self) -> None:
        self._timer = None
        if reason := self._busy():
            self._later(reason)
        else:
            self._prove()

    def _later(self, reason: str) -> None:
        if time.monotonic() >= self._answer_at:
            self._answer(f"{reason}: it follows by itself when that is over")
        self._look_in(min(2 * self._pause, _LONGEST_PAUSE))

    def _prove(self) -> None:
        """Ask the new version whether it can go on with the state as it is now."""
        try:
            fd = memfd.sealed("sockact-state", carried_state.write(self._carry()))
        except OSError as error:
            self._refuse(f"the state cannot be written: {error.strerror}")
            return
        words = (sys.executable, *sys.orig_argv[1:])
        environment = {**os.environ, VARIABLE: CHECK}
        command = Command(words, reports=True, stdin=fd)
        try:
            self._attempt = CommandRun(
                self._loop, command, environment, _CHECK_WITHIN, self._proved
            )
        except OSError as error:
            self._refuse(f"{sys.executable} cannot be started: {error.strerror}")
        finally:
            os.close(fd)

    def _proved(self, reason: str) -> None:
        assert self._attempt
        said, self._attempt = self._attempt.output, None
        if reason:
            self._refuse(f"what is installed cannot go on: {reason}")
        elif not said.startswith(PROOF):
            self._refuse("what is installed knows of no upgrade in place")
        else:
            # As a timer: other children, and other signals, may have been noted with this one.
            self._timer = self._loop.at(time.monotonic(), self._leap)

    def _leap(self) -> None:
        # From here on a signal waits for the new version. One that is noted would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        try:
            if reason := "a signal has come" if self._loop.signalled() else self._busy():
                self._later(reason)
            else:
                leap(self._carry())
        except OSError as error:
            self._refuse(f"{sys.executable} cannot be executed: {error.strerror}")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)

    def _refuse(self, reason: str) -> None:
        self._say(f"not upgraded: {reason}; this version goes on", News.UPGRADE_FAILED)
        self._answer(reason)

    def _answer(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        for failed in waiting:
            failed(reason)


def leap(carried: CarriedSupervisor) -> NoReturn:
    """Execute the version that is installed, in this process, with this state.

    Raises OSError, and then nothing has changed.
    """
    fd = memfd.sealed("sockact-state", carried_state.write(carried))
    kept = [fd, *carried.descriptors()]
    try:
        for one in kept:
            os.set_inheritable(one, True)
        os.execve(sys.executable, sys.orig_argv, {**os.environ, VARIABLE: str(fd)})
    finally:
        for one in kept:
            os.set_inheritable(one, False)
        os.close(fd)
