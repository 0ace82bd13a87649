"""After a supervisor was killed, its listeners and the pidfds of its generations are still in the
file descriptor store (docs/fdstore.md).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest

from tests.process.upgrade.restarts import (
    LISTENER,
    PIDFD,
    Restarts,
    read_on,
    restarts,
    stored,
    told,
)
from tests.support import wait
from tests.support.program import Program, ask, connect, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["restarts"]  # fixtures


def inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


def test_clients_wait_for_the_next_supervisor(restarts: Restarts, program: Program) -> None:
    service = restarts.first(program)
    messages = service.notify.messages
    (listener,) = [m for m in messages if (m.get("FDNAME") or "").startswith(LISTENER)]
    (ready,) = [m for m in messages if m.get("READY")]
    assert messages.index(listener) < messages.index(ready)
    # Or else systemd would drop it when a program shuts it down.
    assert listener.get("FDPOLL") == "0"
    (number,) = service.status()["generations"]
    assert stored(service, PIDFD) == [f"{PIDFD}{number['pid']}"]
    restarts.kill(service)
    with connect(("127.0.0.1", program.port)) as client:
        client.sendall(b"fast")
        program.publish("2")
        again = restarts.again(service, program, *program.listen)
        assert read_all(client) == "2"
    assert not [name for name in told(again, "FDSTORE") if name.startswith(LISTENER)]
    assert again.stop() == 0
    read_on(again)
    assert again.notify.store == {}


def test_socket_file_stays_the_same(restarts: Restarts, program: Program, folder: Path) -> None:
    path = folder / "app.sock"
    program.publish("1", f"accept(bound({str(path)!r}, socket.AF_UNIX))\n")
    text = f"web={folder}/../{folder.name}/app.sock"
    service = restarts.first(program, text)
    before = inode(path)
    restarts.kill(service)
    with connect(str(path)) as client:
        client.sendall(b"fast")
        again = restarts.again(service, program, text)
        assert read_all(client) == "1"
    assert inode(path) == before
    assert [one["name"] for one in again.status()["listeners"]] == ["web"]
    assert again.stop() == 0
    assert not path.exists()


@pytest.mark.parametrize("wanted", ["0.0.0.0:{port}", "127.0.0.1:{other}"])
def test_address_that_is_not_wanted_any_more(
    restarts: Restarts, program: Program, wanted: str
) -> None:
    service = restarts.first(program)
    (before,) = stored(service, LISTENER)
    restarts.kill(service)
    other = wait.free_port()
    address = wanted.format(port=program.port, other=other)
    program.port = int(address.rpartition(":")[2])
    program.publish("2")
    again = restarts.again(service, program, address)
    assert program.ask() == "2"
    (now,) = stored(again, LISTENER)
    # The new one is not opened before systemd has closed the old one.
    keys = ("FDSTOREREMOVE", "BARRIER", "FDSTORE")
    order = [(k, m.get("FDNAME")) for m in again.notify.messages for k in keys if m.get(k)]
    barrier = order.index(("BARRIER", None))
    assert order[0] == ("FDSTOREREMOVE", before)
    assert {key for key, _ in order[:barrier]} == {"FDSTOREREMOVE"}
    assert order[barrier + 1] == ("FDSTORE", now)


def test_one_of_two_is_kept(restarts: Restarts, program: Program) -> None:
    other = ("127.0.0.1", wait.free_port())
    both = f"threading.Thread(target=accept, args=(bound({other!r}),)).start()\naccept(bound())\n"
    program.publish("1", both)
    service = restarts.first(program, *program.listen, f"{other[0]}:{other[1]}")
    assert len(stored(service, LISTENER)) == 2
    restarts.kill(service)
    program.publish("2")
    again = restarts.again(service, program, *program.listen)
    assert len(stored(again, LISTENER)) == 1
    assert program.ask() == "2"
    with pytest.raises(ConnectionRefusedError):
        connect(other)


def test_file_that_is_gone_is_made_again(
    restarts: Restarts, program: Program, folder: Path
) -> None:
    """systemd removes RuntimeDirectory= before it starts the service again."""
    path = folder / "app.sock"
    program.publish("1", f"accept(bound({str(path)!r}, socket.AF_UNIX))\n")
    service = restarts.first(program, str(path))
    restarts.kill(service)
    path.unlink()
    again = restarts.again(service, program, str(path))
    assert ask(str(path)) == "1"
    assert len(stored(again, LISTENER)) == 1


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_UNIX])
def test_listener_that_was_shut_down(
    restarts: Restarts, program: Program, folder: Path, family: socket.AddressFamily
) -> None:
    """A supervisor that stops refuses new clients; it may be killed after that."""
    path = str(folder / "app.sock")
    address: tuple[str, int] | str = ("127.0.0.1", program.port)
    listen = program.listen
    if family is socket.AF_UNIX:
        address, listen = path, (path,)
    program.publish("1", f"accept(bound({address!r}, socket.{family.name}))\n")
    service = restarts.first(program, *listen)
    restarts.kill(service)
    (name,) = stored(service, LISTENER)
    with socket.socket(fileno=os.dup(service.notify.store[name])) as found:
        found.shutdown(socket.SHUT_RD)
    again = restarts.again(service, program, *listen)
    assert ask(address) == "1"
    assert name not in again.notify.store


@contextlib.contextmanager
def of_socket_unit() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        yield found


@pytest.mark.parametrize("name", [f"{LISTENER}1", LISTENER, f"{PIDFD}1", f"{LISTENER}²"])
def test_name_of_a_socket_unit_that_looks_like_ours(
    restarts: Restarts, program: Program, name: str
) -> None:
    service = restarts.first(program)
    restarts.kill(service)
    with of_socket_unit() as listener:
        program.port = listener.getsockname()[1]
        program.publish("2")
        again = restarts.again(service, program, passed=((name, listener.fileno()),))
        assert program.ask() == "2"
        assert [one["name"] for one in again.status()["listeners"]] == [name]
        # A .socket unit holds the listeners now: what was kept has no use any more.
        assert stored(again, LISTENER) == []
        assert again.stop() == 0
        assert name not in told(again, "FDSTOREREMOVE")
        connect(listener.getsockname()).close()


def test_an_ended_process_leaves_the_store(restarts: Restarts, program: Program) -> None:
    service = restarts.first(program)
    (before,) = stored(service, PIDFD)
    program.publish("2")
    assert service.reload("--wait-drained").code == 0
    (now,) = stored(service, PIDFD)
    assert now != before
    os.kill(service.status()["generations"][-1]["pid"], signal.SIGKILL)
    wait.until(lambda: service.states() == {3: "running"}, "the next generation")
    assert len(stored(service, PIDFD)) == 1
    assert now not in service.notify.store


def test_a_failure_of_the_program_keeps_the_queue(
    restarts: Restarts, program: Program, folder: Path
) -> None:
    """systemd starts the service again, and clients wait for that."""
    path = folder / "app.sock"
    program.write("raise SystemExit(3)\n")
    service = restarts.start(program.command, listen=(str(path),), ready=False)
    assert service.process.wait(10) == 3
    assert len(stored(service, LISTENER)) == 1
    with connect(str(path)) as client:
        client.sendall(b"fast")
        program.publish("2", f"accept(bound({str(path)!r}, socket.AF_UNIX))\n")
        restarts.again(service, program, str(path))
        assert read_all(client) == "2"
