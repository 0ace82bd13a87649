"""When another version may take over, and what the callers are told."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from sockact import __version__
from sockact.kernel import memfd
from sockact.supervisor import upgrade
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.upgrade import Upgrades

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sockact.core.message_kinds import News
    from sockact.supervisor.records.carried_state import CarriedSupervisor


class Rig:
    """Upgrades of a process that stays busy as long as `reason` says so."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.reason = "a reload is in progress"
        self.said: list[str] = []
        self.heard: list[str] = []
        self.carried = 0
        self.upgrades = Upgrades(
            self.loop, [signal.SIGUSR1], lambda: self.reason, self._carry, self._say
        )

    def _carry(self) -> CarriedSupervisor:
        self.carried += 1
        raise OSError(0, "no room")

    def _say(self, message: str, _news: News) -> None:
        self.said.append(message)

    def ask(self) -> Callable[[], None]:
        return self.upgrades.ask(self.heard.append)

    def turn_until(self, fact: Callable[[], object]) -> None:
        """Run the loop until that time."""
        deadline = time.monotonic() + 10.0

        def look() -> None:
            assert time.monotonic() < deadline
            if fact():
                self.loop.stop()
            else:
                self.loop.at(time.monotonic() + 0.005, look)

        look()
        self.loop.run()


@pytest.fixture
def rig() -> Iterator[Rig]:
    found = Rig()
    yield found
    found.upgrades.close()
    found.loop.close()


def test_a_caller_that_waits_too_long_is_told_and_the_request_stays(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upgrade, "_PATIENCE", 0.05)
    rig.ask()
    rig.ask()
    rig.turn_until(lambda: rig.heard)
    assert rig.heard == ["a reload is in progress; the upgrade will follow automatically"] * 2
    assert rig.said == []
    rig.reason = ""
    rig.turn_until(lambda: rig.carried)
    assert rig.said == [
        f"not upgraded: cannot save the state: no room; still running version {__version__}"
    ]
    assert len(rig.heard) == 2


def test_a_caller_that_has_left_is_not_told(rig: Rig) -> None:
    leave = rig.ask()
    rig.ask()
    leave()
    leave()
    rig.reason = ""
    rig.turn_until(lambda: rig.carried)
    assert rig.heard == ["cannot save the state: no room"]
    # The next one begins anew.
    rig.ask()
    rig.turn_until(lambda: rig.carried == 2)
    assert len(rig.heard) == 2


def test_the_end_of_the_service_answers(rig: Rig) -> None:
    rig.ask()
    rig.upgrades.close()
    assert rig.heard == ["the service has stopped"]


def test_a_sealed_text() -> None:
    data = os.urandom(3_000_000)
    fd = memfd.sealed("x", data)
    try:
        assert memfd.contents(fd) == data
        assert memfd.contents(fd) == data
        assert not os.get_inheritable(fd)
        for change in (lambda: os.write(fd, b"x"), lambda: os.ftruncate(fd, 1)):
            with pytest.raises(PermissionError):
                change()
    finally:
        os.close(fd)


def test_what_is_not_sealed_is_refused() -> None:
    fd = os.memfd_create("x", os.MFD_ALLOW_SEALING)
    try:
        with pytest.raises(OSError, match="not sealed"):
            memfd.contents(fd)
    finally:
        os.close(fd)
    read, write = os.pipe()
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            memfd.contents(read)
    finally:
        os.close(read)
        os.close(write)
