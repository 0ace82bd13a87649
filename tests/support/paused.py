"""Services that the operator pauses, and the clients that wait meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from tests.support import wait

if TYPE_CHECKING:
    from typing import Any

    from tests.support.program import Hammer
    from tests.support.service import Service

CLIENTS = 6
PATIENCE = 120.0
"""Seconds that a client waits: its first packet is sent again after pauses that grow."""
HTTP = "GET / HTTP/1.0\r\n\r\n"

HEAD = """
import os, select, socket
def bound(kind=socket.SOCK_STREAM):
    listener = socket.socket(socket.AF_INET, kind)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", PORT))
    if kind == socket.SOCK_STREAM:
        listener.listen()
    return listener
def serve(connection):
    with connection:
        connection.recv(100)
        connection.sendall(VERSION)
listener = bound()
"""
"""The beginning of programs that know VERSION and PORT, and run without the shim."""
ACCEPT = f"{HEAD}while True:\n    serve(listener.accept()[0])\n"
SELECT = f"{HEAD}while select.select([listener], [], []):\n    serve(listener.accept()[0])\n"
EPOLL = f"""{HEAD}
epoll = select.epoll()
epoll.register(listener, select.EPOLLIN)
while epoll.poll():
    serve(listener.accept()[0])
"""


def pause(service: Service) -> dict[str, Any]:
    """The pause in the status."""
    found: dict[str, Any] = service.status()["pause"]
    return found


def begin(service: Service, *options: str) -> str:
    """`sockact pause`; what it said."""
    outcome = service.run("pause", *(options or ("--max", "5min")), service.name)
    assert outcome.code == 0, (outcome.stderr, service.stderr)
    return outcome.stdout


def resume(service: Service) -> None:
    """`sockact resume`."""
    outcome = service.run("resume", service.name)
    assert (outcome.code, outcome.stdout) == (0, f"{service.name}: resumed\n"), outcome.stderr


def wait_for_clients(service: Service, clients: int = CLIENTS) -> None:
    """Return when so many clients wait: in the accept queue, or for an answer to their SYN."""

    def all_wait() -> bool:
        found = psutil.Process().net_connections("tcp")
        begun = sum(one.status == psutil.CONN_SYN_SENT for one in found)
        queued = sum(int(one["queue_length"]) for one in service.status()["listeners"])
        return queued + begun == clients

    wait.until(all_wait, "all clients to wait", PATIENCE)


def wait_until_served(hammer: Hammer, answers: int) -> None:
    """Return when so many clients were answered."""
    wait.until(lambda: hammer.answers.total() >= answers, f"{answers} answers", PATIENCE)
