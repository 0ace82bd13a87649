"""Signals to the supervisor do not disturb an adoption."""

from __future__ import annotations

import signal
import socket
import sys
from typing import TYPE_CHECKING

from tests.support import wait

if TYPE_CHECKING:
    from tests.conftest import StartService

PROGRAM = """
import socket, sys
address = ("127.0.0.1", int(sys.argv[1]))
failures = 0
for _ in range(1500):
    with socket.socket() as one:
        try: one.bind(address)
        except OSError: failures += 1
listener = socket.socket()
listener.bind(address)
listener.listen()
while True:
    connection = listener.accept()[0]
    connection.sendall(b"%d" % failures)
    connection.close()
"""


def test_children_that_end_do_not_interrupt_an_adoption(start: StartService) -> None:
    port = wait.free_port()
    service = start(
        [sys.executable, "-c", PROGRAM, str(port)],
        listen=(f"127.0.0.1:{port}",),
        ready=False,
    )

    def signalled_until_ready() -> bool:
        for _ in range(200):
            service.signal(signal.SIGCHLD)
        found = service.notify.receive(0)
        return found is not None and found.get("READY") == "1"

    # 1500 adoptions take a third of that on a machine that is idle.
    wait.until(signalled_until_ready, "the service to be ready", 40, 0.0001)
    with socket.create_connection(("127.0.0.1", port), timeout=wait.TIMEOUT) as client:
        assert client.recv(99) == b"0"
