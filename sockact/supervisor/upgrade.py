"""Upgrades the supervisor in place, to the installed version of sockact: docs/upgrade.md.

The process executes the new version and keeps its pid. Before that, a child process checks that the
new version starts and can read the state that it would get. If the upgrade succeeds, the new
version answers the callers; if not, this version does.
"""

from __future__ import annotations

import os
import signal
import sys
import time

import sockact
from sockact.core.message_kinds import News
from sockact.kernel import memfd
from sockact.supervisor.base.commands import Command, CommandRun
from sockact.supervisor.records import carried_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.records.carried_state import CarriedSupervisor

    Failed = Callable[[str], None]

VARIABLE = "SOCKACT_UPGRADE"
"""Environment variable: CHECK, or the descriptor of the memfd that has the state."""
CHECK = "check"
PROOF = "can go on: "
"""What a check that succeeds writes, before the version."""

_PATIENCE = 30.0
"""Seconds until a caller hears that the upgrade has to wait."""
_CHECK_WITHIN = 30.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0


class Upgrades:
    """Carries out upgrades: one at a time, for all who have asked for it."""

    def __init__(
        self,
        loop: Loop,
        signals: Iterable[signal.Signals],
        busy: Callable[[], str],
        carry: Callable[[], CarriedSupervisor],
        say: Callable[[str, News], None],
    ) -> None:
        """`busy` returns what has to end first, "" for nothing. Then `carry` returns the state."""
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
        """Upgrade as soon as nothing else is in progress; `failed(reason)` if it does not happen.

        Call what it returns if the caller leaves. The upgrade is still done then, and also after
        `failed` has said that it has to wait.
        """
        self._waiting.append(failed)
        self._answer_at = time.monotonic() + _PATIENCE
        if self._attempt is None:
            self._look_in(0.0)

        def leave() -> None:
            self._waiting = [one for one in self._waiting if one is not failed]

        return leave

    def close(self) -> None:
        """Cancel the upgrade: the service has stopped."""
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
            self._check()

    def _later(self, reason: str) -> None:
        if time.monotonic() >= self._answer_at:
            self._answer(f"{reason}; the upgrade will follow automatically")
        self._look_in(min(2 * self._pause, _LONGEST_PAUSE))

    def _check(self) -> None:
        """Ask the new version whether it can use the present state."""
        try:
            fd = memfd.sealed("sockact-state", carried_state.write(self._carry()))
        except OSError as error:
            self._refuse(f"cannot save the state: {error.strerror}")
            return
        words = (sys.executable, *sys.orig_argv[1:])
        environment = {**os.environ, VARIABLE: CHECK}
        command = Command(words, reports=True, stdin=fd)
        try:
            self._attempt = CommandRun(
                self._loop, command, environment, _CHECK_WITHIN, self._checked
            )
        except OSError as error:
            self._refuse(f"cannot start {sys.executable}: {error.strerror}")
        finally:
            os.close(fd)

    def _checked(self, reason: str) -> None:
        assert self._attempt
        said, self._attempt = self._attempt.output, None
        if reason:
            self._refuse(f"the installed version cannot take over: {reason}")
        elif not said.startswith(PROOF):
            self._refuse("the installed version does not support upgrades in place")
        else:
            # In the next turn of the loop: this one may still have other signals to handle.
            self._timer = self._loop.at(time.monotonic(), self._execute)

    def _execute(self) -> None:
        # From here on a signal stays pending for the new version. One that has been received
        # already would be lost.
        signal.pthread_sigmask(signal.SIG_BLOCK, self._signals)
        try:
            if reason := "a signal has arrived" if self._loop.signalled() else self._busy():
                self._later(reason)
            else:
                execute_installed(self._carry())
        except OSError as error:
            self._refuse(f"cannot execute {sys.executable}: {error.strerror}")
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._signals)

    def _refuse(self, reason: str) -> None:
        self._say(
            f"not upgraded: {reason}; still running version {sockact.__version__}",
            News.UPGRADE_FAILED,
        )
        self._answer(reason)

    def _answer(self, reason: str) -> None:
        waiting, self._waiting = self._waiting, []
        for failed in waiting:
            failed(reason)


def execute_installed(carried: CarriedSupervisor) -> NoReturn:
    """Execute the installed version in this process, and hand this state over to it.

    Raises OSError; nothing has changed then.
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
