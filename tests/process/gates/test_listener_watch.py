"""Listeners that cannot be looked at are not blamed for one another."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING

import pytest

from sockact.kernel.sockets import listener as listeners
from sockact.supervisor.gates import listener_watch
from sockact.supervisor.gates.listener_watch import ListenerWatch
from tests import ROOT
from tests.process.gates.test_looks import hostile, stuck, told
from tests.support import wait
from tests.support.stuck import is_stuck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop

__all__ = ["stuck", "told"]  # fixtures

LOCK = """
print(1, flush=True)
program = struct.pack("@HP", 1, address)
libc.setsockopt(int(sys.argv[1]), socket.SOL_SOCKET, 26, program, len(program))
"""


@pytest.fixture
def pair() -> Iterator[list[Listener]]:
    with contextlib.ExitStack() as kept:
        made = [kept.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
        yield [listeners.of_socket("web", sock, owned=False) for sock in made]


@pytest.mark.usefixtures("told")
@pytest.mark.parametrize("number", [1, 2])
def test_a_listener_is_named_only_if_it_is_the_one(
    loop: Loop, stuck: str, pair: list[Listener], number: int
) -> None:
    watched = pair[-number:]
    watch = ListenerWatch(
        loop, watched, lambda _: True, pytest.fail, lambda _: None, lambda _: None, lambda: None
    )
    with hostile(LOCK, stuck, pair[1].socket.fileno()) as (process, _):
        wait.until(lambda: is_stuck(process.pid), "the lock to be held")
        where = str(watched[0].address) if number == 1 else "one of the listeners"
        for _ in range(2):
            assert watch.try_to_repair_all().startswith(
                f"cannot tell whether clients can connect to {where}: a process keeps"
            )
    watch.close()


def test_the_page_has_the_number_of_repairs() -> None:
    page = " ".join((ROOT / "docs" / "gate.md").read_text().split())
    assert listener_watch._AGAIN == 1
    assert f"(at most {listener_watch._MOST_REPAIRS} times a second for each listener)" in page
