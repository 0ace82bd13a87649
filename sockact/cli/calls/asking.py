"""Asks any number of services for their status, side by side, until one deadline.

Some may be there only to keep others from being shown: any user may have a directory of thousands.
So services of different directories take turns, and one that is silent holds up no other, as long
as fewer than `_AT_ONCE` are.
"""

from __future__ import annotations

import errno
import itertools
import os
import selectors
import time
from collections import deque

from sockact.cli.terminal.failures import Failure
from sockact.supervisor.control import client, interface, paths

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from sockact.cli.calls.service import Service

    Answer = dict[str, Any] | Failure

_AT_ONCE = 256
_MOST_IN_ONE = 1000
"""Services of one directory to call. Each costs 0.2 ms, even one that refuses."""
_IN_A_ROW = 16
"""Services to call before those that were called are heard."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
"""Seconds until those that have no room are called again."""


def ask_all(services: list[Service], seconds: float) -> list[Answer]:
    """What each of them answers, or why it does not."""
    answers = _Asking(services, seconds).answers()
    return [answers.get(one.directory) or _one_too_many(one) for one in services]


def _one_too_many(one: Service) -> Failure:
    base = os.path.dirname(one.directory)
    return Failure(f"{one.name}: not queried; {base} has more than {_MOST_IN_ONE} services")


def status_of(one: Service, connection: client.Client, answer: dict[str, Any]) -> dict[str, Any]:
    """The status in an answer, with the pid of the process that answered. Raises Failure."""
    status: dict[str, Any] = answer["status"]
    if status["name"] != one.name:
        # Its status would be shown as that service's.
        raise Failure(f"{one.name}: the supervisor there calls itself {status['name']!r}")
    status["pid"] = connection.supervisor or status["pid"]
    return status


class _Asking:
    """The services that are due, those that were called, and the answers."""

    def __init__(self, services: list[Service], seconds: float) -> None:
        self._seconds = seconds
        self._until = time.monotonic() + seconds
        # Thousands of them are not to use up the time of the others.
        self._answers: dict[str, Answer] = {
            one.directory: one.without_socket()
            for one in services
            if paths.has_no_socket(one.directory) and paths.is_running(one.directory)
        }
        self._due = deque(_in_turn(one for one in services if one.directory not in self._answers))
        self._again: deque[Service] = deque()
        self._pause = _FIRST_PAUSE
        self._again_at = time.monotonic() + _FIRST_PAUSE
        self._called = selectors.PollSelector()  # Needs no descriptor.

    def answers(self) -> dict[str, Answer]:
        """The answers, by directory."""
        while (self._due or self._again or self._called.get_map()) and self._left() > 0:
            may_call = self._call_next()
            for key, _ in self._called.select(0.0 if may_call else self._wait()):
                self._hear(*key.data)
            if self._again and not self._due and time.monotonic() >= self._again_at:
                self._due, self._again = self._again, deque()
                self._pause = min(2 * self._pause, _LONGEST_PAUSE)
                self._again_at = time.monotonic() + self._pause
        for key in tuple(self._called.get_map().values()):
            one, connection = key.data
            late = client.Timeout(one.directory, self._seconds)
            self._end(connection, one, one.failure(late))
        for one in (*self._due, *self._again):
            self._answers[one.directory] = Failure(
                f"{one.name}: not queried within {self._seconds:g} s"
            )
        return self._answers

    def _left(self) -> float:
        return self._until - time.monotonic()

    def _wait(self) -> float:
        """Seconds until something is to be done if nobody answers."""
        if not (self._again or self._called.get_map()):
            return 0.0
        until = min(self._until, self._again_at) if self._again else self._until
        return max(0.0, until - time.monotonic())

    def _call_next(self) -> bool:
        """Call some of those that are due; return whether others can be called at once."""
        for _ in range(_IN_A_ROW):
            if not self._due or len(self._called.get_map()) >= _AT_ONCE or self._left() <= 0:
                return False
            self._call(self._due.popleft())
        return True

    def _call(self, one: Service) -> None:
        try:
            with one.explained():
                connection = client.Client(one.directory, 0.0)
                try:
                    connection.send("Status")
                except BaseException:
                    connection.close()
                    raise
        except Failure as failure:
            if self._may_have_room_later(failure):
                self._again.append(one)
            else:
                self._answers[one.directory] = failure
            return
        self._called.register(connection, selectors.EVENT_READ, (one, connection))

    def _may_have_room_later(self, failure: Failure) -> bool:
        """Whether the supervisor's queue is full, or there are no descriptors because of others."""
        cause = failure.__cause__
        if isinstance(cause, client.RemoteError):
            return cause.name == interface.TOO_MANY_CONNECTIONS
        number = getattr(cause and cause.__cause__, "errno", 0)
        wants = number in (errno.EMFILE, errno.ENFILE) and bool(self._called.get_map())
        return wants or isinstance(cause, client.Timeout)

    def _hear(self, one: Service, connection: client.Client) -> None:
        try:
            with one.explained():
                reply = connection.arrived()
                if reply is not None:
                    self._end(connection, one, status_of(one, connection, reply.parameters))
        except Failure as failure:
            self._end(connection, one, failure)
            if self._may_have_room_later(failure):
                del self._answers[one.directory]
                self._again.append(one)

    def _end(self, connection: client.Client, one: Service, answer: Answer) -> None:
        self._answers[one.directory] = answer
        self._called.unregister(connection)
        connection.close()


def _in_turn(services: Iterable[Service]) -> Iterable[Service]:
    """The first service of each base directory, the second of each, and so on, up to a limit."""
    by_base: dict[str, list[Service]] = {}
    for one in services:
        by_base.setdefault(os.path.dirname(one.directory), []).append(one)
    rounds = itertools.zip_longest(*(found[:_MOST_IN_ONE] for found in by_base.values()))
    return filter(None, itertools.chain.from_iterable(rounds))
