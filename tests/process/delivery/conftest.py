"""Fixtures for programs to which connections are delivered."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol

import pytest

from sockact.handover.interest import process_interest
from tests.process.delivery.programs import PREAMBLE
from tests.support import wait
from tests.support.child import inode
from tests.support.delivered import Connections, Delivered, listening

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


class Launch(Protocol):
    """The call of the `launch` fixture."""

    def __call__(self, code: str, *, blocking: bool = False, waits: bool = True) -> Delivered: ...


@pytest.fixture
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    with listening(getattr(request, "param", "127.0.0.1"), 10) as made:
        yield made


@pytest.fixture
def launch(listener: socket.socket) -> Iterator[Launch]:
    """Start a program, and wait until it waits for connections."""
    started = []

    def launch(code: str, *, blocking: bool = False, waits: bool = True) -> Delivered:
        listener.setblocking(blocking)
        program = Delivered(listener, [sys.executable, "-I", "-c", PREAMBLE + code, "LFD"])
        started.append(program)
        if waits:
            wait.until(lambda: bool(process_interest(program.pid, {inode(listener)})), "interest")
        return program

    yield launch
    for program in started:
        program.close()


@pytest.fixture
def made() -> Iterator[Connections]:
    """Connections that no program has accepted."""
    with Connections() as made:
        yield made
