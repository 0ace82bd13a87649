"""The gate inside the process, with programs that wait in poll, select and accept."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.process.adoption.test_shim_wire import Run, Supervisor, run, supervisor
from tests.process.gates.gated import (
    ASYNCIO,
    PAUSES,
    PREAMBLE,
    Listener,
    listener,
    share,
    start,
    waits_in_accept,
)
from tests.support import wait

__all__ = ["listener", "run", "supervisor"]  # fixtures

ACCEPT = PREAMBLE + "loop()"
THREADS = (
    PREAMBLE
    + """
threads = [threading.Thread(target=loop) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
)
# Like gunicorn's sync worker: a parent that only waits, workers that select.
SELECT = (
    PREAMBLE
    + """
listener.setblocking(False)
children = [os.fork() for _ in range(1)]
if all(children):
    print(*children, flush=True)
    os.wait()
while True:
    select.select([listener], [], [], 60)
    try: serve(listener.accept()[0])
    except BlockingIOError: pass
"""
)
POLL = """
import http.server, socket, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"ok")
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket = socket.socket(fileno=int(sys.argv[1]))
server.serve_forever(poll_interval=60)
"""


@pytest.mark.parametrize(
    "source", [POLL, ACCEPT, THREADS], ids=["poll", "accept", "accept-in-threads"]
)
def test_closes_and_opens(
    run: Run, supervisor: Supervisor, listener: Listener, source: str
) -> None:
    program = start(run, listener, source)
    for _ in range(3):
        assert listener.ask()
        assert supervisor.order(program.pid, listener.close_order) == ["done gate 1"]
        listener.nobody_accepts()
        waiting = listener.connect()
        assert supervisor.order(program.pid, listener.open_order) == ["done gate 1"]
        # The connection that waited meanwhile is served.
        waiting.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert waiting.recv(4096)


def test_a_worker_that_selects(run: Run, supervisor: Supervisor, listener: Listener) -> None:
    program = start(run, listener, SELECT)
    child = int(program.line())
    assert listener.ask() == b"%d" % child
    assert supervisor.order(child, listener.close_order) == ["done gate 1"]
    listener.nobody_accepts()
    assert supervisor.order(child, listener.open_order) == ["done gate 1"]
    assert listener.ask() == b"%d" % child


def test_the_decoy_burns_no_cpu(run: Run, supervisor: Supervisor, listener: Listener) -> None:
    program = start(run, listener, POLL)
    listener.ask()
    supervisor.order(program.pid, listener.close_order)
    listener.nobody_accepts()
    before = cpu_ns(program.pid)
    pidfd = os.pidfd_open(program.pid)
    assert not wait.readable(pidfd, timeout=0.3)
    os.close(pidfd)
    assert cpu_ns(program.pid) - before < 50_000_000


def cpu_ns(pid: int) -> int:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def test_orders_may_come_twice(run: Run, supervisor: Supervisor, listener: Listener) -> None:
    program = share(run, listener)
    program.do("other = os.dup(listener.fileno())")
    fds = program.do("result = os.listdir('/proc/self/fd')")
    orders = [listener.open_order, listener.close_order, listener.close_order]
    assert supervisor.order(program.pid, *orders, *reversed(orders)) == ["done gate 2"] * 6
    assert supervisor.order(program.pid, listener.open_order) == ["done gate 2"]
    assert program.do("result = os.listdir('/proc/self/fd')") == fds


def test_flags_are_carried(run: Run, supervisor: Supervisor, listener: Listener) -> None:
    program = share(run, listener)
    program.do("listener.setblocking(False); a, b = listener.fileno(), os.dup(listener.fileno())")
    program.do("os.set_inheritable(a, True); os.set_inheritable(b, False)")
    flags = "result = [(os.get_blocking(fd), os.get_inheritable(fd)) for fd in (a, b)]"
    before = program.do(flags)
    assert before == [(False, True), (False, False)]
    for order in (listener.close_order, listener.open_order):
        supervisor.order(program.pid, order)
        assert program.do(flags) == before


def test_a_child_opens_what_its_parent_closed(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = share(run, listener)
    supervisor.order(program.pid, listener.close_order)
    child = program.do("result = os.fork(); result or exec('while 1: listener.accept()')")
    wait.until(lambda: waits_in_accept(child, child), "the child to accept")
    assert supervisor.order(child, listener.open_order) == ["done gate 1"]
    client = listener.connect()
    # The child drops the connection that it accepts, and nothing of the call may keep it.
    assert client.recv(1) == b""
    name = program.do("result = listener.getsockname()")
    assert tuple(name) != listener.socket.getsockname(), "still the decoy"


def test_a_fd_that_the_program_closed_stays_closed(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = share(run, listener)
    supervisor.order(program.pid, listener.close_order)
    program.do("fd = listener.fileno(); listener.close(); null = os.open('/dev/null', 0)")
    program.do("os.dup2(null, fd)")
    assert supervisor.order(program.pid, listener.open_order) == ["done gate 0"]
    assert program.do("result = os.readlink(f'/proc/self/fd/{fd}')") == "/dev/null"


def test_a_duplicate_that_the_program_made_opens(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = share(run, listener)
    supervisor.order(program.pid, listener.close_order)
    program.do("copy = listener.dup()")
    assert supervisor.order(program.pid, listener.open_order) == ["done gate 2"]
    port = listener.socket.getsockname()[1]
    assert program.do("result = copy.getsockname()[1]") == port


def test_a_program_that_closes_strange_fds_gets_an_error(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = share(run, listener)
    supervisor.order(program.pid, listener.close_order)
    program.do("os.closerange(listener.fileno() + 1, 1024); spare = os.dup(0), os.dup(0)")
    program.do("os.closerange(3, listener.fileno())")
    (answer,) = supervisor.order(program.pid, listener.open_order)
    assert answer == f"error GateError: the program has closed the listener {listener.inode}"


def test_a_fd_in_an_epoll_instance_is_left_alone(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = start(run, listener, ASYNCIO)
    assert listener.ask() == b"ok"
    assert supervisor.order(program.pid, listener.close_order) == ["done gate 0"]
    assert listener.ask() == b"ok"


def test_a_datagram_socket_is_left_alone(run: Run, supervisor: Supervisor) -> None:
    program = run.obedient()
    inode = program.do(
        "udp = socket.socket(type=socket.SOCK_DGRAM); result = os.fstat(udp.fileno()).st_ino"
    )
    assert supervisor.order(program.pid, f"gate closed {inode}") == ["done gate 0"]


def test_a_thread_that_refuses_the_nudge_is_reported(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = share(run, listener)
    program.do("import threading")
    program.do("def deaf(): signal.pthread_sigmask(0, signal.valid_signals()); listener.accept()")
    program.do("thread = threading.Thread(target=deaf, daemon=True); thread.start()")
    tid = program.do("result = thread.native_id")
    wait.until(lambda: waits_in_accept(program.pid, tid), "the thread to accept")
    (answer,) = supervisor.order(program.pid, listener.close_order)
    assert answer == "error GateError: 1 threads could not be interrupted"


EPOLL_WORKER = """
import ctypes, select, struct
def serve_with_epoll(data, missing):
    instance = select.epoll()
    if missing == "select.epoll": del select.epoll  # as gevent's patches do
    if missing == "ctypes": sys.modules["ctypes"] = None
    if data is None:
        instance.register(listener, select.EPOLLIN)
    else:
        layout = "=IQ" if os.uname().machine == "x86_64" else "@IQ"
        event = struct.pack(layout, select.EPOLLIN, data)
        assert not ctypes.CDLL(None).epoll_ctl(instance.fileno(), 1, listener.fileno(), event)
    while True:
        instance.poll()
        connection = listener.accept()[0]
        connection.recv(4096)
        connection.sendall(b"served")
        connection.close()
"""


@pytest.mark.parametrize(
    ("data", "missing"),
    [("None", ""), (2**63 + 5, "select.epoll"), (2**40, "ctypes")],
    ids=["of-python", "of-a-c-library", "without-ctypes"],
)
def test_a_worker_that_was_forked_while_closed_serves(
    run: Run, supervisor: Supervisor, listener: Listener, data: object, missing: str
) -> None:
    """It finds the decoy at the fd number, so its epoll instance watches the decoy."""
    program = share(run, listener)
    program.do(f"exec({EPOLL_WORKER!r}, globals())")
    assert supervisor.order(program.pid, listener.close_order) == ["done gate 1"]
    child = program.do(f"result = os.fork(); result or serve_with_epoll({data}, {missing!r})")
    wait.until(lambda: watches_something(child), "the child to watch its listener")
    # The listener in an epoll instance is the supervisor's to gate from here on.
    assert supervisor.order(child, listener.open_order) == ["done gate 0"]
    assert listener.ask() == b"served"
    assert supervisor.order(child, listener.open_order) == ["done gate 0"]
    assert listener.ask() == b"served"


def watches_something(pid: int) -> bool:
    return any("tfd:" in info.read_text() for info in Path(f"/proc/{pid}/fdinfo").iterdir())


def test_a_server_that_resumes_accepting_while_closed_serves(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    program = start(run, listener, PAUSES)
    assert listener.ask() == b"%d" % program.pid
    for _ in range(2):
        program.process.send_signal(signal.SIGUSR1)
        assert program.line() == "pauses"
        assert supervisor.order(program.pid, listener.close_order) == ["done gate 1"]
        program.process.send_signal(signal.SIGUSR2)
        assert program.line() == "resumes"
        listener.nobody_accepts()
        assert supervisor.order(program.pid, listener.open_order) == ["done gate 0"]
        assert listener.ask() == b"%d" % program.pid
    program.process.send_signal(signal.SIGUSR1)
    assert program.line() == "pauses", "it can still take its listener out"
    listener.nobody_accepts()
