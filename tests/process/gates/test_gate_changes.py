"""Gates of processes that fork, end, accept again or become another user meanwhile."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sockact.handover.interest import process_interest
from tests.process.gates.waiting import EPOLL, GATES, HEAD, OTHERS, PYTHON, REFUSED, Waiting
from tests.support import wait

if TYPE_CHECKING:
    from tests.conftest import StartService

# The parent handles the call late, between two calls into C, its child at once.
SHARED = """
import hashlib
instance = watching()
if os.fork() == 0:
    while True: signal.pause()
threading.Thread(target=wait_in, args=(instance,)).start()
while True: hashlib.pbkdf2_hmac("sha256", b"a", b"b", 1_000_000)
"""


def test_a_child_that_ends_while_the_gate_is_closed(start: StartService, folder: Path) -> None:
    """The instance that it shares with its parent keeps its entries."""
    waiting = Waiting(start, folder, SHARED, launcher=REFUSED)
    reload = waiting.begin_trial()
    (child,) = set(waiting.generation(1)["pids"]) - {waiting.generation(1)["pid"]}
    os.kill(child, signal.SIGKILL)
    assert wait.ended(child)
    waiting.end_trial(reload)
    assert waiting.answers() == {b"1"}


# It cannot be read by a supervisor that is root without CAP_SYS_PTRACE, as root is in a container.
# What the shim imports later is loaded before: the Python that runs the tests may be root's alone.
OTHER_USER = """
import ctypes, select, struct
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
    os.setuid(65534)
    notify.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", chr(0), 1))
wait_in(watching())
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_process_of_another_user_is_told(start: StartService, folder: Path) -> None:
    port = wait.free_port()
    service = start(
        [*PYTHON, "-c", HEAD + OTHER_USER, str(port)],
        listen=(f"127.0.0.1:{port}",),
        options=("--ready", "notify", "--drain-timeout", "60s", *GATES),
        launcher=("setpriv", "--inh-caps=-sys_ptrace", "--bounding-set=-sys_ptrace"),
    )
    gates = {g["number"]: (g["gate"], g["gate_by"]) for g in service.status()["generations"]}
    assert gates == {1: ("open", "shim")}
    assert service.reload().code == 0

    def closed() -> bool:
        first = service.status()["generations"][0]
        return (first["number"], first["gate"], first["gate_by"]) == (1, "closed", "shim")

    wait.until(closed, "the gate to close")
    for _ in range(8):
        with socket.create_connection(("127.0.0.1", port), timeout=wait.TIMEOUT) as client:
            client.sendall(b"ask")
            assert client.recv(9) == b"2"
    assert service.stop("--now") == 0


# Like an exiting interpreter: it has reset the shim's signals.
ENDS_SLOWLY = """
def tell(*_):
    signal.signal(50, signal.SIG_DFL)
    open(sys.argv[2], "w").close()
signal.signal(signal.SIGTERM, tell)
listener = bound()
while True:
    connection = listener.accept()[0]
    connection.recv(9); connection.sendall(NUMBER); connection.close()
"""


def test_an_ending_process_had_a_gate(start: StartService, folder: Path) -> None:
    told = folder / "told"
    waiting = Waiting(start, folder, ENDS_SLOWLY, arguments=(str(told),))
    pid = waiting.generation(1)["pid"]
    assert waiting.service.reload().code == 0
    wait.until(told.exists, "the SIGTERM")
    assert waiting.gate() == ("closed", None)
    assert waiting.generation(1)["gate_reason"] == ""
    os.kill(pid, signal.SIGKILL)
    waiting.service.wait_drained()


# Meanwhile it binds another socket to its address, and waits on that in a thread.
BINDS_AGAIN = """
def tell(*_):
    with open(sys.argv[2], "w") as file: file.write(str(listener.getsockname()[1]))
    os._exit(0)
def again():
    global listener
    listener = bound()
    {}
def hear():
    while True:
        connection = listener.accept()[0]
        if connection.recv(9) == b"work": return connection
        connection.sendall(NUMBER); connection.close()
signal.signal(signal.SIGTERM, tell)
with hear() as busy:
    busy.recv(9)
    threading.Thread(target=again).start()
    busy.recv(9)
    busy.sendall(NUMBER)
signal.pause()
"""


@pytest.mark.parametrize(
    ("how", "launcher"),
    [(EPOLL["epoll"], REFUSED), (OTHERS["accept"], ())],
    ids=["epoll", "accept"],
)
def test_a_process_that_accepts_again_is_closed_before_sigterm(
    start: StartService, folder: Path, how: str, launcher: tuple[str, ...]
) -> None:
    told = folder / "told"
    code = BINDS_AGAIN.format(how)
    waiting = Waiting(start, folder, code, launcher=launcher, arguments=(str(told),))
    with waiting.connect() as client:
        client.sendall(b"work")
        assert waiting.service.reload().code == 0
        wait.until(lambda: waiting.gate() == ("closed", "shim"), "the gate to close")
        pid = waiting.generation(1)["pid"]
        client.sendall(b"again")
        inode = listening(waiting.port)
        wait.until(lambda: process_interest(pid, {inode}), "it to accept again")
        client.sendall(b"answer")
        assert client.recv(9) == b"1"
    wait.until(told.exists, "the SIGTERM")
    waiting.service.wait_drained()
    assert int(told.read_text()) != waiting.port, "its gate was open at its SIGTERM"


def listening(port: int) -> int:
    """The inode of the socket that listens on a port of the loopback interface."""
    (found,) = (
        int(words[9])
        for words in map(str.split, Path("/proc/net/tcp").read_text().splitlines()[1:])
        if words[3] == "0A" and words[1].endswith(f":{port:04X}")
    )
    return found
