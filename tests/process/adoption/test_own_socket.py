"""The program's own socket before bind(): who else has it, who watches it, who has the port."""

from __future__ import annotations

import errno
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import wait
from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

SERVE = """
found.setblocking(False)
while True:
    for fd, _ in poll.poll():
        try:
            connection, _ = found.accept()
        except BlockingIOError:
            continue
        connection.setblocking(True)
        serve(connection)
"""
# Into epoll first, as event loops that watch a socket from its creation on.
WATCHED_FIRST = (
    """
import select
found = socket.socket()
poll = select.epoll()
poll.register(found, select.EPOLLIN)
found.bind(("127.0.0.1", PORT))
found.listen()
"""
    + SERVE
)
# As authbind: a helper process binds the socket that it has inherited.
BOUND_BY_HELPER = """
found = socket.socket()
if not os.fork():
    found.bind(("127.0.0.1", PORT))
    os._exit(0)
assert os.waitpid(-1, 0)[1] == 0
found.listen()
"""
# One bind after the other, with the error of each; `tell` writes them for the test.
BINDS = """
def one(*options, host="127.0.0.1", listens=True):
    found = socket.socket()
    for option in options:
        found.setsockopt(socket.SOL_SOCKET, option, 1)
    try:
        found.bind((host, PORT))
    except OSError as error:
        return error.errno
    if listens:
        found.listen()
    kept.append(found)
    return 0
kept = []
def tell(*errors):
    import json
    with open(FILE + ".new", "w") as file:
        json.dump(errors, file)
    os.rename(FILE + ".new", FILE)
"""
REUSE_PORT, REUSE_ADDRESS = "socket.SO_REUSEPORT", "socket.SO_REUSEADDR"
IN_USE = errno.EADDRINUSE


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def test_socket_that_was_put_into_epoll_first(start: StartService, program: Program) -> None:
    program.publish("1", WATCHED_FIRST)
    service = start(program.command, listen=program.listen, options=("--adopt", "seccomp"))
    assert program.ask() == "1"
    program.publish("2", WATCHED_FIRST)
    assert service.reload("--wait-drained").code == 0
    assert program.ask() == "2"


def test_helper_that_binds(start: StartService, program: Program) -> None:
    body = BOUND_BY_HELPER + "accept(found)\n"
    program.publish("1", body)
    service = start(program.command, listen=program.listen, options=("--adopt", "seccomp"))
    assert program.ask() == "1"
    program.publish("2", body)
    assert service.reload("--wait-drained").code == 0
    assert program.ask() == "2"


def test_helper_that_binds_a_socket_in_epoll(start: StartService, program: Program) -> None:
    watched = "import select\npoll = select.epoll()\npoll.register(found, select.EPOLLIN)\n"
    body = BOUND_BY_HELPER.replace("if not", watched + "if not", 1)
    program.publish("1", body + SERVE)
    start(program.command, listen=program.listen, options=("--adopt", "seccomp"))
    assert program.ask() == "1"


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
@pytest.mark.parametrize(
    ("calls", "errors"),
    [
        ("one(), one()", [0, IN_USE]),
        (f"one({REUSE_ADDRESS}), one({REUSE_ADDRESS})", [0, IN_USE]),
        (f"one({REUSE_PORT}), one({REUSE_PORT})", [0, 0]),
        (f"one({REUSE_PORT}), one()", [0, IN_USE]),
        ("one(), one(host='127.0.0.2')", [0, 0]),
        ("one(), kept.pop().close(), one()", [0, None, 0]),
    ],
)
def test_second_bind(
    start: StartService,
    program: Program,
    folder: Path,
    calls: str,
    errors: list[int | None],
    adopt: str,
) -> None:
    path = folder / "errors"
    program.publish("1", f"FILE = {str(path)!r}\n{BINDS}tell({calls})\naccept(kept[0])\n")
    start(program.command, listen=program.listen, options=("--adopt", adopt))
    wait.until(path.exists, "the errors")
    found: Any = json.loads(path.read_text())
    assert found == errors
    assert program.ask() == "1"


def test_two_processes_with_reuseaddr(start: StartService, program: Program, folder: Path) -> None:
    """Both may bind, and only one may listen."""
    path = folder / "errors"
    program.publish(
        "1",
        f"FILE = {str(path)!r}\n{BINDS}"
        f"def bind(): return one({REUSE_ADDRESS}, listens=False)\n"
        "def listen():\n"
        "    try: return kept[0].listen()\n"
        "    except OSError as error: return error.errno\n"
        "def child():\n"
        "    os.write(there[1], b'b' if bind() == 0 else b'x')\n"
        "    os.read(back[0], 1)\n"
        "    os._exit(listen() or 0)\n"
        "there, back = os.pipe(), os.pipe()\n"
        "if not (pid := os.fork()): child()\n"
        "heard = os.read(there[0], 1).decode()\n"
        "errors = [heard, bind(), listen(), listen()]\n"
        "os.write(back[1], b'l')\n"
        "errors += [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), one()]\n"
        "tell(*errors)\n"
        "accept(kept[0])\n",
    )
    start(program.command, listen=program.listen)
    wait.until(path.exists, "the errors")
    assert json.loads(path.read_text()) == ["b", 0, None, None, IN_USE, IN_USE]
    assert program.ask() == "1"


def test_each_worker_takes_the_first_free_port(
    start: StartService, program: Program, folder: Path
) -> None:
    """As for metrics: if the first port of a range is in use, the next one is tried."""
    second = wait.free_port()
    path = folder / "errors"
    program.publish(
        "1",
        f"FILE = {str(path)!r}\n{BINDS}"
        "main, PORT = PORT, PORT\n"
        "first = one()\n"
        "pid = os.fork()\n"
        "if not pid:\n"
        "    busy = one()\n"
        f"    PORT = {second}\n"
        "    tell(first, busy, one())\n"
        "    accept(kept[-1])\n"
        "accept(kept[0])\n",
    )
    start(program.command, listen=(*program.listen, f"127.0.0.1:{second}"))
    wait.until(path.exists, "the errors")
    assert json.loads(path.read_text()) == [0, IN_USE, 0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs to become another user")
def test_process_that_cannot_be_read(start: StartService, program: Program) -> None:
    """It has become another user, and the supervisor has no CAP_SYS_PTRACE: the cause is told."""
    program.publish("1", "os.setgid(65534)\nos.setuid(65534)\naccept(bound())\n")
    launcher = ("setpriv", "--bounding-set=-all,+setgid,+setuid", "--inh-caps=-all", "--")
    service = start(program.command, listen=program.listen, launcher=launcher, ready=False)
    assert service.process.wait(20) == 1
    line = service.stderr.splitlines()[-1]
    assert "of user 65534 called bind(), and sockact may not read it; set User=" in line
    assert "add CAP_SYS_PTRACE to CapabilityBoundingSet=" in line


def test_address_that_cannot_be_read(start: StartService, program: Program) -> None:
    """The kernel answers the call; what it says is not all that the operator is told."""
    body = "own = socket.socket()\nctypes.CDLL(None).bind(own.fileno(), ctypes.c_void_p(8), 16)\n"
    program.publish("1", f"import ctypes\n{body}sys.exit(1)\n")
    service = start(program.command, listen=program.listen, ready=False)
    assert service.process.wait(20) == 1
    assert re.search(r"process \d+ called bind\(\), and .* could not look at it: ", service.stderr)
