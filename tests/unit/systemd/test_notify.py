"""The notifier: for any text one valid datagram, and none is lost."""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest

from sockact.core.lifecycle.model import Phase, Policy, Ready, Service
from sockact.supervisor.base.loop import WRITE, Loop
from sockact.supervisor.service.announcer import Announcer
from sockact.systemd.notify import Notifier

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def systemd(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The receiver behind $NOTIFY_SOCKET."""
    path = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield receiver


@pytest.fixture
def notifier(systemd: socket.socket) -> Iterator[Notifier]:
    made = Notifier({"NOTIFY_SOCKET": "set"})
    assert made.active
    yield made
    made.close()


def everything(receiver: socket.socket) -> list[bytes]:
    """All datagrams that are there."""
    found = []
    while True:
        try:
            found.append(receiver.recv(65536))
        except BlockingIOError:
            return found


def fill(notifier: Notifier) -> None:
    """Send until the receiver's queue is full."""
    for _ in range(10_000):
        notifier.watchdog()
    assert notifier.error == ""


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("gänsefüßchen „€“ 雪", "gänsefüßchen „€“ 雪"),
        ("one\nMAINPID=1\rtwo", "one\\nMAINPID=1\\rtwo"),
        ("nul \0 and escape \x1b and \u2028", "nul \\x00 and escape \\x1b and \\u2028"),
        ("bytes of a path \udcff", "bytes of a path \\udcff"),
    ],
)
def test_status_is_one_printable_line(
    notifier: Notifier, systemd: socket.socket, text: str, told: str
) -> None:
    notifier.status(text)
    assert systemd.recv(65536).decode() == f"STATUS={told}"
    notifier.ready(text)
    assert systemd.recv(65536).decode() == f"READY=1\nSTATUS={told}"


def test_status_is_bounded(notifier: Notifier, systemd: socket.socket) -> None:
    notifier.status("\n" * 100_000)
    told = systemd.recv(65536).decode()
    assert 400 < len(told) <= 520
    assert told.endswith("…")


def test_ready_is_sent_again(notifier: Notifier, systemd: socket.socket) -> None:
    fill(notifier)
    notifier.ready("serving")
    assert notifier.undelivered
    notifier.status("serving; more")
    everything(systemd)
    notifier.flush()
    assert everything(systemd) == [b"READY=1\nSTATUS=serving; more"]
    assert not notifier.undelivered


def test_reload_is_told_whole(notifier: Notifier, systemd: socket.socket) -> None:
    """READY=1 alone does not end a reload that systemd does not know of."""
    fill(notifier)
    notifier.ready("first")
    notifier.reloading("second")
    notifier.ready("third")
    everything(systemd)
    notifier.flush()
    first, second = everything(systemd)
    assert first.startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert second == b"READY=1\nSTATUS=third"


def test_stopping_is_all_that_is_left(notifier: Notifier, systemd: socket.socket) -> None:
    fill(notifier)
    notifier.reloading("first")
    notifier.stopping("second")
    everything(systemd)
    notifier.flush()
    assert everything(systemd) == [b"STOPPING=1\nSTATUS=second"]


def test_late_messages_keep_their_order(notifier: Notifier, systemd: socket.socket) -> None:
    """When the queue has room again, older messages still come first."""
    fill(notifier)
    notifier.status("old")
    systemd.recv(65536)
    notifier.ready("new")
    assert [x for x in everything(systemd) if x != b"WATCHDOG=1"] == [b"READY=1\nSTATUS=new"]


def test_store_comes_before_ready(notifier: Notifier, systemd: socket.socket) -> None:
    fill(notifier)
    read, write = os.pipe()
    notifier.ready("serving")
    notifier.store("a", read, poll=True)
    notifier.store("b", read, poll=False)
    os.close(read)
    everything(systemd)
    notifier.flush()
    first, fds, _, _ = socket.recv_fds(systemd, 65536, 1)
    assert first == b"FDSTORE=1\nFDNAME=a"
    second, more, _, _ = socket.recv_fds(systemd, 65536, 1)
    assert second == b"FDSTORE=1\nFDNAME=b\nFDPOLL=0"
    assert everything(systemd) == [b"READY=1\nSTATUS=serving"]
    assert not notifier.undelivered
    os.close(write)
    for fd in (*fds, *more):
        assert os.read(fd, 1) == b""
        os.close(fd)


def test_a_descriptor_that_was_not_stored_is_not_removed(
    notifier: Notifier, systemd: socket.socket
) -> None:
    """A receiver that does not read costs no descriptors."""
    before = len(os.listdir("/proc/self/fd"))
    fill(notifier)
    for _ in range(100):
        notifier.store("a", 0, poll=True)
        notifier.remove("a")
        notifier.store("b", 0, poll=True)
    assert len(os.listdir("/proc/self/fd")) == before + 1
    notifier.remove("b")
    notifier.remove("c")
    notifier.remove("c")
    everything(systemd)
    notifier.flush()
    assert everything(systemd) == [b"FDSTOREREMOVE=1\nFDNAME=c"]


def test_barrier(notifier: Notifier, systemd: socket.socket) -> None:
    """It ends when systemd closes the descriptor."""

    def hear() -> None:
        ready.poll()
        data, fds, _, _ = socket.recv_fds(systemd, 65536, 1)
        heard.append(data)
        os.close(fds[0])

    heard: list[bytes] = []
    ready = select.poll()
    ready.register(systemd, select.POLLIN)
    thread = threading.Thread(target=hear)
    thread.start()
    notifier.wait_heard(60)
    thread.join()
    assert heard == [b"BARRIER=1"]


def test_barrier_without_a_receiver(notifier: Notifier, systemd: socket.socket) -> None:
    notifier.wait_heard(0)
    assert everything(systemd) == [b"BARRIER=1"]
    systemd.close()
    notifier.wait_heard(60)
    silent = Notifier({})
    silent.wait_heard(60)
    silent.store("a", 0, poll=True)
    silent.remove("a")


@pytest.mark.parametrize("kept", [True, False])
def test_a_store_is_tried_where_nothing_tells(
    notifier: Notifier, systemd: socket.socket, kept: bool
) -> None:
    """Before systemd 254, and where it stores nothing. It answers a barrier before it closes."""

    def hear() -> None:
        for _ in range(2):
            ready.poll()
            data, fds, _, _ = socket.recv_fds(systemd, 65536, 1)
            heard.append(data)
            (stored if data.startswith(b"FDSTORE=1") else closed).extend(fds)
            for fd in closed:
                os.close(fd)
        while not kept and stored:
            # After the barrier has released the other thread.
            answered.wait()
            os.close(stored.pop())

    heard: list[bytes] = []
    stored: list[int] = []
    closed: list[int] = []
    answered = threading.Event()
    threading.Timer(0.02, answered.set).start()
    ready = select.poll()
    ready.register(systemd, select.POLLIN)
    thread = threading.Thread(target=hear)
    thread.start()
    notifier.learn_store({})
    thread.join()
    assert notifier.stores is kept
    name = b"FDNAME=sockact-trial"
    assert heard == [b"FDSTORE=1\n" + name, b"BARRIER=1"]
    assert everything(systemd) == ([b"FDSTOREREMOVE=1\n" + name] if kept else [])
    for fd in stored:
        os.close(fd)
    notifier.store("a", 0, poll=True)
    assert len(everything(systemd)) == (1 if kept else 0)


@pytest.mark.parametrize(("told", "stores"), [("64", True), ("0", False)])
def test_a_store_that_is_told(
    notifier: Notifier, systemd: socket.socket, told: str, stores: bool
) -> None:
    notifier.learn_store({"FDSTORE": told})
    assert notifier.stores is stores
    assert everything(systemd) == []


@pytest.mark.parametrize("told", ["", "²", "-1"])
def test_a_store_that_is_told_wrongly(
    notifier: Notifier, systemd: socket.socket, told: str
) -> None:
    systemd.close()
    notifier.learn_store({"FDSTORE": told})
    assert notifier.stores is False


def test_announcer_sends_it_when_there_is_room(notifier: Notifier, systemd: socket.socket) -> None:
    loop = Loop()
    said: list[str] = []
    announcer = Announcer(loop, notifier, said.append)
    service = Service(Policy(Ready.INTEREST, 1, 1, 1))
    fill(notifier)
    announcer.phase(Phase.SERVING, service)
    announcer.phase(Phase.BACKOFF, service)
    assert len(said) == 1
    heard: list[bytes] = []

    def hear() -> None:
        heard.extend(everything(systemd))
        loop.at(time.monotonic() + 0.1, loop.stop)

    loop.at(time.monotonic() + 0.05, hear)
    began = time.process_time()
    loop.run()
    assert time.process_time() - began < 0.1
    heard += everything(systemd)
    assert next(x for x in heard if x != b"WATCHDOG=1").startswith(b"READY=1\nSTATUS=")
    assert not notifier.undelivered
    assert not loop.watched(notifier.fileno())
    loop.close()


def test_receiver_that_is_gone(notifier: Notifier, systemd: socket.socket) -> None:
    """It is reported and not retried forever."""
    systemd.close()
    loop = Loop()
    said: list[str] = []
    announcer = Announcer(loop, notifier, said.append)
    announcer.phase(Phase.SERVING, Service(Policy(Ready.INTEREST, 1, 1, 1)))
    announcer.phase(Phase.BACKOFF, Service(Policy(Ready.INTEREST, 1, 1, 1)))
    assert len(said) == 1
    assert "refused" in said[0]
    assert not loop.watched(notifier.fileno())
    loop.close()


def test_writable_means_room(notifier: Notifier, systemd: socket.socket) -> None:
    """What the announcer relies on: the kernel wakes it once the receiver has read."""
    loop = Loop()
    fill(notifier)
    woken: list[int] = []

    def wake(mask: int) -> None:
        woken.append(mask)
        loop.stop()

    loop.watch(notifier.fileno(), WRITE, wake)
    loop.at(time.monotonic() + 0.05, loop.stop)
    loop.run()
    assert woken == []
    everything(systemd)
    loop.run()
    assert woken == [WRITE]
    loop.close()
