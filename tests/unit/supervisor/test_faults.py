"""An exception that is a bug of ours: it is reported, and the service goes on with whole steps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sockact.core.lifecycle import actions, events
from sockact.core.lifecycle.model import Policy
from sockact.supervisor.base.faults import Faults
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.base.retry import Retry
from sockact.supervisor.service.lifecycle import Lifecycle
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sockact.core.lifecycle.model import Service


def _raised(text: str, kind: type[Exception] = ValueError) -> Exception:
    try:
        raise kind(text)
    except Exception as error:
        return error


def test_report_names_the_place_in_one_line() -> None:
    said: list[str] = []
    Faults(said.append).note(_raised("digits\n\x1b[31m" + "1" * 5000))
    [line] = said
    assert line.startswith("internal error: ValueError at test_faults.py:")
    assert "_raised" in line
    assert "digits\\n\\x1b[31m111" in line
    assert line.isprintable()
    assert len(line) < 500


def test_one_place_is_reported_once_a_minute() -> None:
    said: list[str] = []
    now = [0.0]
    faults = Faults(said.append, lambda: now[0])
    for _ in range(100):
        faults.note(_raised("again"))
    faults.note(_raised("other", TypeError))
    assert len(said) == 2
    now[0] = 61.0
    faults.note(_raised("again"))
    assert "(99 more in the last 61 s)" in said[2]


def test_number_of_places_is_bounded() -> None:
    said: list[str] = []
    faults = Faults(said.append, lambda: 0.0)
    for number in range(1000):
        faults.note(_raised("x", type(f"Error{number}", (Exception,), {})))
    assert len(said) == 65


class _Follower:
    """Performs nothing, and raises where it is told to."""

    def __init__(self, bad: Callable[[str], bool]) -> None:
        self.done: list[str] = []
        self._bad = bad

    def stepped(self, service: Service, actions: Sequence[actions.Action], now: float) -> None:
        self._do("stepped")

    def perform(self, action: actions.Action) -> None:
        self._do(type(action).__name__)

    def failed(self, action: actions.Action, reason: str) -> None:
        self._do(f"failed {type(action).__name__}: {reason}")

    def followed(
        self, before: Service, service: Service, actions: Sequence[actions.Action]
    ) -> None:
        self._do("followed")

    def changed(self, service: Service) -> None:
        self._do("changed")

    def _do(self, name: str) -> None:
        self.done.append(name)
        if self._bad(name):
            raise RuntimeError(name)


def _lifecycle(follower: _Follower) -> tuple[Lifecycle, Loop, list[Exception]]:
    noted: list[Exception] = []
    loop = Loop(noted.append)
    retry = Retry(loop, lambda _message: None)
    return Lifecycle(Policy(), loop, retry, lambda: follower), loop, noted


def test_a_step_is_carried_out_in_whole() -> None:
    """Whatever raises: all of its actions, and all who take note of it."""
    whole = _Follower(lambda _name: False)
    lifecycle, loop, _ = _lifecycle(whole)
    lifecycle.handle(events.Start())
    loop.close()
    for bad in dict.fromkeys(whole.done):
        follower = _Follower(lambda name, bad=bad: name == bad)  # type: ignore[misc]
        lifecycle, loop, noted = _lifecycle(follower)
        lifecycle.handle(events.Start())
        assert [name for name in follower.done if not name.startswith("failed")] == whole.done
        assert len(noted) == 1
        assert lifecycle.service.pending is not None
        lifecycle.handle(events.Stop())
        loop.close()


def test_failed_action_is_answered_or_done_again() -> None:
    follower = _Follower(lambda name: name == "Spawn" or len(follower.done) < 5)
    lifecycle, loop, noted = _lifecycle(follower)
    lifecycle.handle(events.Start())
    assert "failed Spawn: internal error (RuntimeError)" in follower.done
    before = follower.done.count("Announce")
    # What follows from the failure was not carried out, either: again, later.
    late = loop.at(time.monotonic() + wait.TIMEOUT, loop.stop)

    def look() -> None:
        if follower.done.count("Announce") > before:
            loop.stop()
        else:
            loop.at(time.monotonic() + 0.01, look)

    look()
    loop.run()
    late.cancel()
    assert follower.done.count("Announce") == before + 1
    loop.close()
    assert noted
