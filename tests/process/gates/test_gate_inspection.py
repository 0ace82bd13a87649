"""A process whose way to wait is known is not inspected again."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys

import pytest

from sockact.core.matching import Address, Family, Kind
from sockact.kernel.sockets.listener import Listener
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.gates.mechanisms import Mechanisms
from sockact.supervisor.processes.shim_calls import CALL_SIGNAL, ShimCalls
from tests import ROOT
from tests.process.gates.waiting import PYTHON, REFUSED


@pytest.mark.parametrize("launcher", [(), REFUSED], ids=["outside", "refused"])
def test_a_process_is_inspected_once(launcher: tuple[str, ...]) -> None:
    """A status every second is not more expensive for a process with many descriptors."""
    done = subprocess.run(
        [*launcher, *PYTHON, "-m", "tests.process.gates.test_gate_inspection"],
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0


def ask_twice() -> None:
    """Ask in a separate process, where pidfd_getfd may be refused."""
    with socket.create_server(("127.0.0.1", 0)) as sock, select.epoll() as instance:
        instance.register(sock, select.EPOLLIN)
        signal.signal(CALL_SIGNAL, lambda *_: None)
        address = Address(Family.INET, Kind.STREAM, "127.0.0.1", sock.getsockname()[1])
        inode = os.fstat(sock.fileno()).st_ino

        def nothing(*_: object) -> None:
            return None

        calls = ShimCalls(Loop(), f"sockact-test-{os.getpid()}", nothing, nothing, nothing)
        ways = Mechanisms(calls, [Listener("x", sock, address, inode, owned=True)])
        first = ways.of(1, [os.getpid()], {})
        asked: list[str] = []
        sys.addaudithook(lambda event, arguments: asked.append(f"{event} {arguments}"))
        again = ways.of(1, [os.getpid()], {})
        looked = [line for line in asked if "/fd" in line]
        calls.close()
    assert first == again, (first, again)
    assert asked
    assert not looked, looked


if __name__ == "__main__":
    ask_twice()
