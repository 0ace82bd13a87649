"""After a supervisor was killed, its listeners and the pidfds of its generations are still in the
file descriptor store (docs/fdstore.md).
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.support import passing, wait
from tests.support.program import Program, ask, connect, read_all

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

LISTENER, PIDFD = "sockact-listener-", "sockact-pidfd-"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\naccept(bound())\n"
# Answers when the file is there, and ends when all is answered.
GRACEFUL = """
def serve(connection):
    with connection:
        connection.recv(100)
        open({path!r} + ".asked", "w").close()
        while not os.path.exists({path!r}):
            time.sleep(0.01)
        connection.sendall(VERSION)
listener = bound()
def stop(*_):
    listener.close()
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join()
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
accept(listener)
"""


@dataclass(frozen=True)
class Restarts:
    """Starts services, and starts them again as systemd does it: with what it has stored."""

    start: StartService

    def first(self, program: Program, *listen: str, options: tuple[str, ...] = ()) -> Service:
        service = self.start(program.command, listen=listen or program.listen, options=options)
        service.status()  # So that what is told after READY=1 has been told, too.
        read_on(service)
        return service

    def kill(self, service: Service, *, ends: bool = True) -> None:
        """With `ends`, return when its program has ended, which may accept clients before."""
        pids = [pid for one in service.status()["generations"] for pid in one["pids"]]
        service.process.kill()
        service.process.wait()
        assert not ends or all(map(wait.ended, pids))
        read_on(service)
        service.remove_sockets()

    def again(
        self,
        before: Service,
        program: Program,
        *listen: str,
        options: tuple[str, ...] = (),
        passed: tuple[tuple[str, int], ...] = (),
        ready: bool = True,
    ) -> Service:
        """`passed` are listeners of a .socket unit, by their names."""
        store = dict(before.notify.store)
        before.notify.store.clear()
        with passing.passed([*passed, *store.items()]) as handed:
            service = self.start(
                program.command,
                listen=listen,
                options=options,
                environment={**os.environ, **handed.variables},
                pass_fds=handed.fds,
                launcher=handed.launcher,
                ready=False,
            )
        service.notify.store.update(store)
        if ready:
            service.wait_ready()
        return service


def read_on(service: Service) -> None:
    while service.notify.receive(0):
        pass


def told(service: Service, key: str) -> list[str]:
    """The FDNAME= of each message that has this field, or the fields of its name."""
    read_on(service)
    return [m.get("FDNAME") or "" for m in service.notify.messages if m.get(key)]


def stored(service: Service, kind: str) -> list[str]:
    read_on(service)
    return [name for name in service.notify.store if name.startswith(kind)]


def inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino


@pytest.fixture
def restarts(start: StartService) -> Restarts:
    return Restarts(start)


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
    assert order[:3] == [("FDSTOREREMOVE", before), ("BARRIER", None), ("FDSTORE", now)]


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


def test_the_next_generation_waits_for_survivors(
    restarts: Restarts, program: Program, folder: Path
) -> None:
    """Requests under way are completed, by one version at a time."""
    answers = folder / "answers"
    program.publish("1", GRACEFUL.format(path=str(answers)))
    options = ("--kill-timeout", "1min")
    service = restarts.first(program, options=options)
    old = service.status()["generations"][0]["pid"]
    with connect(("127.0.0.1", program.port)) as busy:
        busy.sendall(b"fast")
        # Busy is also a connection that no thread serves yet, for which the program would not wait.
        wait.until((folder / "answers.asked").exists, "the request")
        restarts.kill(service, ends=False)
        program.publish("2")
        again = restarts.again(service, program, *program.listen, options=options, ready=False)
        again.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
        assert again.status()["generations"] == []
        answers.touch()
        assert read_all(busy) == "1"
    again.wait_ready()
    assert program.ask() == "2"
    assert f"waiting for process {old} of an earlier supervisor to exit" in again.stderr
    assert "SIGKILL" not in again.stderr
    assert f"{PIDFD}{old}" in told(again, "FDSTOREREMOVE")


def test_survivors_are_killed_in_the_end(restarts: Restarts, program: Program) -> None:
    """It is killed with its children."""
    child = "pid = os.fork()\nif pid == 0:\n    time.sleep(60)\n"
    program.publish("1", child + STUBBORN)
    options = ("--kill-timeout", "0.5s")
    service = restarts.first(program, options=options)
    pids = service.status()["generations"][0]["pids"]
    assert len(pids) == 2
    restarts.kill(service, ends=False)
    assert program.ask() == "1"
    program.publish("2")
    again = restarts.again(service, program, *program.listen, options=options)
    assert program.ask() == "2"
    assert all(wait.ended(pid) for pid in pids)
    assert "still running after the kill timeout, sending SIGKILL" in again.stderr


def test_reload_does_not_wait_for_survivors(restarts: Restarts, program: Program) -> None:
    """The reload may bring the fix."""
    program.publish("1", STUBBORN)
    options = ("--kill-timeout", "2s")
    service = restarts.first(program, options=options)
    old = service.status()["generations"][0]["pid"]
    restarts.kill(service, ends=False)
    again = restarts.again(service, program, *program.listen, options=options, ready=False)
    again.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
    program.publish("2")
    assert again.reload().code == 0
    assert wait.ended(old)
    assert again.states() == {1: "running"}
    assert program.ask() == "2"


def test_stop_while_something_is_left(restarts: Restarts, program: Program) -> None:
    program.publish("1", STUBBORN)
    service = restarts.first(program)
    old = service.status()["generations"][0]["pid"]
    restarts.kill(service, ends=False)
    again = restarts.again(service, program, *program.listen, ready=False)
    again.notify.wait_for_name("EXTEND_TIMEOUT_USEC")
    assert again.stop() == 0
    assert not wait.ended(old, timeout=0)
    os.kill(old, signal.SIGKILL)
