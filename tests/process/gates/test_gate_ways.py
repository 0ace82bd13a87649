"""Every way to wait for connections is closed and opened again by a real supervisor, where it may
edit the program's epoll instances and where pidfd_getfd is refused.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bench import load
from bench.trial import run_trial
from sockact.core.matching import Address, Family, Kind
from sockact.handover.interest import process_interest
from sockact.kernel.sockets.listener import Listener
from sockact.supervisor.base.loop import Loop
from sockact.supervisor.gates.mechanisms import Mechanisms
from sockact.supervisor.processes.shim_calls import CALL_SIGNAL, ShimCalls
from tests import ROOT
from tests.servers import zoo
from tests.support import refuse, wait
from tests.support.service import SOCKACT

if TYPE_CHECKING:
    from tests.conftest import StartService
    from tests.support.service import Service

HEAD = """
import os, select, signal, socket, sys, threading
PORT = int(sys.argv[1])
NUMBER = os.environ["SOCKACT_GENERATION"].encode()

def bound():
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # Some bind again.
    made.bind(("127.0.0.1", PORT))
    made.listen()
    return made

def serve():
    try: connection, _ = listener.accept()
    except BlockingIOError: return False
    with connection:
        connection.recv(9)
        connection.sendall(NUMBER)
    return True

def watching(flags=0):
    listener.setblocking(False)
    instance = select.epoll()
    instance.register(listener, select.EPOLLIN | flags)
    return instance

def wait_in(instance):
    while True:
        instance.poll()
        while serve(): pass

def wait_in_select():
    listener.setblocking(False)
    while True: select.select([listener], [], []), serve()

def accept():
    while True: serve()

def in_threads(work):
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()

def in_workers(work):
    if all([os.fork() for _ in range(2)]):
        os.wait()
    work()

listener = bound()
"""
EPOLL = {
    "epoll": "wait_in(watching())",
    "epoll, edge-triggered": "wait_in(watching(select.EPOLLET))",
    "epoll, exclusive": "wait_in(watching(select.EPOLLEXCLUSIVE))",
    "an epoll instance for each thread": "in_threads(lambda: wait_in(watching()))",
    "an epoll instance that workers share": "e = watching(); in_workers(lambda: wait_in(e))",
}
EPOLL_WORKERS = {
    "an epoll instance for each worker": "in_workers(lambda: wait_in(watching(1 << 28)))",
}
OTHERS = {
    "poll": "p = select.poll(); p.register(listener, 1)\nwhile True: p.poll(), serve()",
    "select": "wait_in_select()",
    "accept": "accept()",
    "accept in threads": "in_threads(accept)",
    "accept in workers": "in_workers(accept)",
    "select in workers": "in_workers(wait_in_select)",
}
# A trial of the start timeout's length would be long: the test ends the successor.
OPTIONS = ("--start-timeout", "60s", "--drain-timeout", "5s", "--kill-timeout", "1s")
REFUSED = refuse.LAUNCHER
PYTHON = (sys.executable,)


class Waiting:
    """A service whose program waits for connections in some way."""

    def __init__(
        self,
        start: StartService,
        folder: Path,
        code: str,
        python: tuple[str, ...] = PYTHON,
        launcher: tuple[str, ...] = (),
        arguments: tuple[str, ...] = (),
        also: tuple[int, ...] = (),
    ) -> None:
        """`also` are ports to listen on but for its own."""
        self.port = wait.free_port()
        self._good = folder / "good"
        self._good.touch()
        self.service: Service = start(
            [*python, "-c", HEAD + code, str(self.port), *arguments],
            listen=tuple(f"127.0.0.1:{port}" for port in (self.port, *also)),
            options=("--ready", f"exec:test -e {self._good}", *OPTIONS),
            launcher=launcher,
        )

    def connect(self, port: int = 0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", port or self.port), timeout=wait.TIMEOUT)

    def answers(self, port: int = 0) -> set[bytes]:
        """The numbers of the generations that answer a handful of clients."""
        found = set()
        for _ in range(8):
            with self.connect(port) as client:
                client.sendall(b"ask")
                found.add(client.recv(9))
        return found

    def generation(self, number: int) -> dict[str, Any]:
        """Generation 1 as status shows it; empty if it does not."""
        listed = self.service.status()["generations"]
        return next((one for one in listed if one["number"] == number), {})

    def gate(self) -> tuple[str, str | None]:
        """Whether the gate of generation 1 is open, and in which way it moves."""
        found = self.generation(1)
        return found["gate"], found["gate_by"]

    def begin_trial(self) -> subprocess.Popen[bytes]:
        """A reload whose probe does not pass; returns when the gate of generation 1 has closed, or
        cannot.
        """
        self._good.unlink()
        reload = subprocess.Popen(
            [*SOCKACT, "reload", self.service.name],
            env=self.service.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

        def paused() -> bool:
            return self.gate()[0] == "closed" or "cannot be made to stop" in self.service.stderr

        wait.until(paused, "the trial")
        return reload

    def end_trial(self, reload: subprocess.Popen[bytes]) -> None:
        """Kill the successor; returns when it has gone and the gate of generation 1 is open."""
        os.kill(self.generation(2)["pid"], signal.SIGKILL)
        _, stderr = reload.communicate(timeout=30)
        assert reload.returncode == 1
        assert b"was killed by signal 9" in stderr
        wait.until(lambda: not self.generation(2), "the successor to end")
        wait.until(lambda: self.gate()[0] == "open", "the gate to open")


def closes_and_opens(waiting: Waiting, way: str) -> None:
    assert waiting.answers() == {b"1"}
    assert waiting.gate() == ("open", way)
    reload = waiting.begin_trial()
    assert waiting.gate() == ("closed", way)
    assert waiting.answers() == {b"2"}
    waiting.end_trial(reload)
    assert waiting.answers() == {b"1"}
    assert waiting.gate() == ("open", way)
    assert "cannot be moved" not in waiting.service.stderr


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
        (OTHERS["accept"], (), "waits in accept, poll or select"),
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


@pytest.mark.parametrize("launcher", [(), REFUSED], ids=["outside", "refused"])
def test_a_process_is_inspected_once(launcher: tuple[str, ...]) -> None:
    """A status every second is not more expensive for a process with many descriptors."""
    done = subprocess.run(
        [*launcher, *PYTHON, "-m", "tests.process.gates.test_gate_ways"], check=False, cwd=ROOT
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
        options=("--ready", "notify", "--drain-timeout", "60s"),
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


NOT_KEPT = (load.Load(load.Kind.NEW, 4, pause=0.005), load.Load(load.Kind.SLOW, 2))
KEPT = (*NOT_KEPT, load.Load(load.Kind.KEEP_ALIVE, 2, pause=0.005))


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["uvicorn uvloop", "uvicorn asyncio", "gunicorn gthread", "gunicorn sync", "granian"]
)
def test_no_client_notices_a_reload_where_pidfd_getfd_is_refused(folder: Path, name: str) -> None:
    server = zoo.BY_NAME[name]
    for package in server.packages:
        pytest.importorskip(package)
    loads = KEPT if server.announces_close else NOT_KEPT
    done = run_trial(server, folder, 2, loads=loads, launcher=REFUSED)
    assert not done.problems(), done.stderr[-2000:]
    assert "cannot be made to stop accepting" not in done.stderr


if __name__ == "__main__":
    ask_twice()
