"""Programs on a listener to which a test delivers connections that it has made itself."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from typing import TYPE_CHECKING

from sockact.handover.delivery import addresses
from sockact.handover.delivery.accepts import Accepts
from sockact.handover.delivery.delivery import Delivery, Parcel
from sockact.kernel import procfs, seccomp
from sockact.kernel.seccomp import Call
from tests.support import wait
from tests.support.child import inode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def listening(host: str, backlog: int) -> socket.socket:
    """A listener at a free address; "" for a Unix socket."""
    family = {"": socket.AF_UNIX, "::1": socket.AF_INET6}.get(host, socket.AF_INET)
    listener = socket.socket(family)
    listener.bind((host, 0) if host else "")
    listener.listen(backlog)
    return listener


def greeted(clients: Sequence[socket.socket]) -> list[int]:
    """The process that each client has been accepted by."""
    return [int(client.recv(20)) for client in clients]


def parcels(connections: Sequence[socket.socket]) -> list[Parcel]:
    """Parcels of these connections."""
    return [Parcel(one.fileno(), addresses.peer(one.fileno())) for one in connections]


class Connections:
    """Connections that no program has accepted: their clients, and our own ends."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        """`host` is "" for Unix connections."""
        self._host = host
        self._all: list[socket.socket] = []
        self.accepted: list[socket.socket] = []
        """Our ends of the last ones."""

    def make(self, count: int) -> list[socket.socket]:
        """Make connections; return the clients."""
        clients = []
        self.accepted = []
        with listening(self._host, count) as listener:
            for _ in range(count):
                client = socket.socket(listener.family)
                self._all.append(client)
                client.settimeout(wait.TIMEOUT)
                client.connect(listener.getsockname())
                clients.append(client)
                self.accepted.append(listener.accept()[0])
                # A loop has it non-blocking, and accept() has to make it blocking.
                self.accepted[-1].setblocking(False)
        self._all += self.accepted
        return clients

    def __enter__(self) -> Connections:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._all:
            one.close()


class Delivered:
    """A program behind the seccomp filter of adopting, and the answers to its calls."""

    def __init__(self, listener: socket.socket, command: Sequence[str]) -> None:
        self.listener = listener
        self.taken: list[int] = []
        """Our descriptors of what was accepted of the last delivery."""
        self.accepts = Accepts({inode(listener): listener.fileno()})
        ours, child_end = socket.socketpair()
        with ours, child_end:
            self.pid = os.fork()
            if self.pid == 0:
                _become(command, listener, child_end)
            _, (self.notifications,), _, _ = socket.recv_fds(ours, 1, 1)

    def pump(self, until: int) -> bool:
        """Answer one notification, or return True if the fd `until` can be read."""
        poll = select.poll()
        for one in (self.notifications, until):
            poll.register(one, select.POLLIN)
        found = dict(poll.poll(wait.TIMEOUT * 1000))
        assert found, "nothing happened"
        if not found.get(self.notifications, 0) & select.POLLIN:
            return bool(found.get(until))
        notification = seccomp.receive(self.notifications)
        if notification is None:
            return False
        if notification.call is Call.BIND and self.accepts.answer(self.notifications, notification):
            return False
        target = notification.arguments[0] & 0xFFFFFFFF
        is_ours = procfs.socket_inode(notification.tid, target) == inode(self.listener)
        if is_ours and notification.call is Call.LISTEN:
            seccomp.answer(self.notifications, notification)
        else:
            seccomp.proceed(self.notifications, notification)
        return False

    def deliver(
        self, connections: Sequence[socket.socket], pid: int = 0, within: float = wait.TIMEOUT
    ) -> str:
        """Deliver connections to the program, or this process of it; return why not."""
        found = parcels(connections)
        delivery = Delivery(pid or self.pid, inode(self.listener), found, within)
        self.accepts.begin(delivery)
        while not self.pump(delivery.fileno()):
            pass
        self.accepts.end()
        why = delivery.end()
        self.taken = [parcel.fd for parcel in delivery.taken]
        os.waitpid(delivery.pid, 0)
        return why

    @contextlib.contextmanager
    def answered(self) -> Iterator[None]:
        """Answer the program in a thread of this process."""
        end = os.eventfd(0)

        def answer() -> None:
            while not self.pump(end):
                pass

        thread = threading.Thread(target=answer)
        thread.start()
        try:
            yield
        finally:
            os.eventfd_write(end, 1)
            thread.join()
            os.close(end)

    def close(self) -> None:
        """Kill the program."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, 9)
        os.waitpid(self.pid, 0)
        self.stop_answering()

    def stop_answering(self) -> None:
        """Let its notified calls fail, as if this process had ended."""
        if self.notifications >= 0:
            os.close(self.notifications)
        self.notifications = -1


def _become(command: Sequence[str], listener: socket.socket, news: socket.socket) -> None:
    try:
        os.setsid()
        listener.set_inheritable(True)
        fd = seccomp.install({Call.BIND, Call.LISTEN, Call.SHUTDOWN})
        socket.send_fds(news, [b"filter"], [fd])
        os.close(fd)
        words = [word.replace("LFD", str(listener.fileno())) for word in command]
        os.execvp(words[0], words)
    finally:
        os._exit(127)
