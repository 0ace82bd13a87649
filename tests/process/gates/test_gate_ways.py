"""Every way to wait for connections is closed and opened again by a real supervisor, where it may
edit the program's epoll instances and where pidfd_getfd is refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from bench import load
from bench.trial import run_trial
from tests.process.gates.waiting import (
    EPOLL,
    EPOLL_WORKERS,
    GATES,
    OTHERS,
    PYTHON,
    REFUSED,
    Waiting,
    closes_and_opens,
)
from tests.servers import zoo
from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService


@pytest.mark.parametrize("code", EPOLL.values(), ids=EPOLL)
def test_epoll_is_gated_from_outside(start: StartService, folder: Path, code: str) -> None:
    closes_and_opens(Waiting(start, folder, code), "epoll")


@pytest.mark.parametrize("code", EPOLL_WORKERS.values(), ids=EPOLL_WORKERS)
def test_a_process_that_only_holds_the_listener_is_told(
    start: StartService, folder: Path, code: str
) -> None:
    """The parent of the workers gets the decoy that a later worker inherits."""
    closes_and_opens(Waiting(start, folder, code), "epoll+shim")


@pytest.mark.parametrize("code", OTHERS.values(), ids=OTHERS)
def test_other_calls_are_gated_by_the_shim(start: StartService, folder: Path, code: str) -> None:
    closes_and_opens(Waiting(start, folder, code), "shim")


WATCHING = {**EPOLL, **EPOLL_WORKERS}


@pytest.mark.parametrize("code", WATCHING.values(), ids=WATCHING)
def test_epoll_is_gated_by_the_shim_where_pidfd_getfd_is_refused(
    start: StartService, folder: Path, code: str
) -> None:
    closes_and_opens(Waiting(start, folder, code, launcher=REFUSED), "shim")


@pytest.mark.parametrize(
    ("code", "launcher", "reason"),
    [
        (EPOLL["epoll"], REFUSED, "pidfd_getfd is refused (Operation not permitted)"),
        (OTHERS["accept"], (), "waits in accept, poll, select or io_uring"),
    ],
    ids=["epoll", "accept"],
)
def test_a_program_without_a_gate(
    start: StartService, folder: Path, code: str, launcher: tuple[str, ...], reason: str
) -> None:
    """Shown before and after the attempt; the reload does not fail because of it."""
    waiting = Waiting(start, folder, code, (*PYTHON, "-I"), launcher)
    found = waiting.generation(1)
    assert (found["gate"], found["gate_by"]) == ("open", "none")
    assert reason in found["gate_reason"]
    assert "has no shim (not Python, or started with -I, -E or -S)" in found["gate_reason"]
    shown = " ".join(waiting.service.run("status", "test").stdout.split())
    assert f"; accepting (cannot stop) {found['gate_reason']} listener" in shown
    reload = waiting.begin_trial()
    assert "cannot be made to stop accepting" in waiting.service.stderr
    assert reason in waiting.generation(1)["gate_reason"]
    waiting.end_trial(reload)
    assert waiting.answers() == {b"1"}


def test_epoll_without_the_shim(start: StartService, folder: Path) -> None:
    closes_and_opens(Waiting(start, folder, EPOLL["epoll"], (*PYTHON, "-I")), "epoll")


# Like an asyncio server with a small metrics server in a thread.
BOTH = """
def answer(other):
    while True:
        with other.accept()[0] as connection: connection.sendall(NUMBER)
other = socket.create_server(("127.0.0.1", int(sys.argv[2])))
threading.Thread(target=answer, args=(other,)).start()
wait_in(watching())
"""


def test_a_process_that_waits_in_both(start: StartService, folder: Path) -> None:
    other = wait.free_port()
    waiting = Waiting(start, folder, BOTH, arguments=(str(other),), also=(other,))
    assert waiting.gate() == ("open", "epoll+shim")
    reload = waiting.begin_trial()
    assert waiting.answers() | waiting.answers(other) == {b"2"}
    waiting.end_trial(reload)
    assert waiting.answers() | waiting.answers(other) == {b"1"}


NOT_KEPT = (load.Load(load.Kind.NEW, 4, pause=0.02), load.Load(load.Kind.SLOW, 2))
KEPT = (*NOT_KEPT, load.Load(load.Kind.KEEP_ALIVE, 2, pause=0.02))
GRANIAN = zoo.BY_NAME["granian"]
TWO_WORKERS = replace(
    GRANIAN,
    name="granian --workers 2",
    command=lambda address: [*GRANIAN.command(address), "--workers", "2"],
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "server",
    [
        *map(zoo.BY_NAME.__getitem__, ("uvicorn uvloop", "uvicorn asyncio")),
        *map(zoo.BY_NAME.__getitem__, ("gunicorn gthread", "gunicorn sync")),
        *(GRANIAN, TWO_WORKERS),
    ],
    ids=lambda server: server.name,
)
def test_no_client_notices_a_reload_where_pidfd_getfd_is_refused(
    folder: Path, server: zoo.Server
) -> None:
    for package in server.packages:
        pytest.importorskip(package)
    loads = KEPT if server.announces_close else NOT_KEPT
    done = run_trial(server, folder, 3, loads=loads, settings=GATES, launcher=REFUSED)
    assert not done.problems(), done.stderr[-2000:]
    assert "cannot be made to stop accepting" not in done.stderr
