"""A failed trial leaves the predecessor as reachable as before."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

# An epoll server, and a child that holds the listener too and stays in one long call into C.
BUSY_CHILD = """
import hashlib, os, select, socket, sys
s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen()
if os.fork() == 0:
    while True: hashlib.pbkdf2_hmac("sha256", b"a", b"b", 40_000_000)
s.setblocking(False)
e = select.epoll(); e.register(s, 1)
while True:
    e.poll()
    try: c = s.accept()[0]
    except BlockingIOError: continue
    c.sendall(os.environ["SOCKACT_GENERATION"].encode()); c.close()
"""
# A poll server whose main thread goes into one long call into C when a client says so.
BUSY_SELF = """
import hashlib, os, select, socket, sys
s = socket.socket(); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen()
while True:
    select.select([s], [], [])
    c = s.accept()[0]
    if c.recv(9) == b"work": hashlib.pbkdf2_hmac("sha256", b"a", b"b", 12_000_000)
    c.sendall(os.environ["SOCKACT_GENERATION"].encode()); c.close()
"""


@pytest.mark.slow
def test_gate_that_closed_in_part_opens_again(start: StartService, folder: Path) -> None:
    service, port = serve(start, folder, BUSY_CHILD)
    outcome = service.reload()
    assert outcome.code == 1
    assert "did not pass" in outcome.stderr
    for _ in range(3):
        assert ask(port) == b"1"
    service.wait_drained()


@pytest.mark.slow
def test_order_to_open_waits_for_a_busy_program(start: StartService, folder: Path) -> None:
    service, port = serve(start, folder, BUSY_SELF)
    with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
        client.sendall(b"work")
        assert service.reload().code == 1
        assert client.recv(9) == b"1"
    assert ask(port) == b"1"


def serve(start: StartService, folder: Path, code: str) -> tuple[Service, int]:
    """Start a service whose generation 1 passes the probe, and no other does."""
    port = wait.free_port()
    good = folder / "good"
    good.touch()
    options = ("--ready", f"exec:test -e {good}", "--start-timeout", "6s")
    service = start(
        [sys.executable, "-c", code, str(port)],
        listen=(f"127.0.0.1:{port}",),
        options=(*options, "--drain-timeout", "1s", "--kill-timeout", "1s"),
    )
    good.unlink()
    return service, port


def ask(port: int) -> bytes:
    """The number of the generation that answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(b"ask")
        return client.recv(9)
