"""Measures lanes: how exactly the kernel shares out clients, and what a reload costs a UDP server.

The shares are measured as user 65534 without a capability, as `sockact run` in a hardened unit.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bare import temporary
from sockact.kernel.sockets import reuseport
from sockact.kernel.sockets.reuseport import WHOLE, Steering
from tests.support import wait
from tests.support.program import Hammer, Program
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534
SHARES = (10, 50, 100, 500, 1000, 0)  # in thousandths
CLIENTS = 200
FAMILIES = {"IPv4": (socket.AF_INET, "127.0.0.1"), "IPv6": (socket.AF_INET6, "::1")}


@dataclass(frozen=True)
class Shared:
    """How many of the connections one member of a group got."""

    family: str
    wanted: float  # per cent
    found: float
    connections: int


@dataclass(frozen=True)
class Sticky:
    """Clients by address, of which a share belongs to one member."""

    clients: int
    both: int  # that have seen two members
    chosen: int


def shares(connections: int) -> tuple[list[Shared], Sticky, str]:
    """The shares by connection, those by client, and CapEff of the process that steered."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            found = [*_by_connection(connections)], _by_client(), _capabilities()
            with os.fdopen(writer, "w") as pipe:
                rows, sticky, rights = found
                json.dump([[vars(one) for one in rows], vars(sticky), rights], pipe)
            status = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        rows, sticky, rights = json.load(pipe)
    os.wait()
    return [Shared(**one) for one in rows], Sticky(**sticky), rights


def _capabilities() -> str:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("CapEff")).split()[1]


def _group(family: int, host: str) -> list[socket.socket]:
    first = socket.socket(family)
    reuseport.prepare(first)
    first.bind((host, 0))
    first.listen(4096)
    found = [first, reuseport.join(first, 4096)]
    for one in found:
        one.setblocking(False)
    return found


def _reached(members: list[socket.socket], source: str = "") -> int:
    """The member that one more client reaches."""
    with socket.socket(members[0].family) as client:
        # Without TIME_WAIT, tens of thousands of connections need no more ports than one.
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        if source:
            client.bind((source, 0))
        client.connect(members[0].getsockname())
        for number, member in enumerate(members):
            try:
                member.accept()[0].close()
            except BlockingIOError:
                continue
            return number
    raise AssertionError("nobody was reached")


def _by_connection(connections: int) -> Iterator[Shared]:
    for name, (family, host) in FAMILIES.items():
        members = _group(family, host)
        for share in SHARES:
            reuseport.attach(members[0], Steering(0, ((1, share),)))
            found = sum(_reached(members) for _ in range(connections))
            yield Shared(name, 100 * share / WHOLE, 100 * found / connections, connections)
        for one in members:
            one.close()


def _by_client() -> Sticky:
    members = _group(socket.AF_INET, "127.0.0.1")
    reuseport.attach(members[0], Steering(0, ((1, 200),), by_client=True))
    seen = [
        {_reached(members, f"127.0.{number // 100}.{1 + number % 100}") for _ in range(5)}
        for number in range(CLIENTS)
    ]
    both = sum(len(one) > 1 for one in seen)
    return Sticky(CLIENTS, both, sum(one == {1} for one in seen))


ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", PORT))
while True:
    data, peer = server.recvfrom(100)
    server.sendto(data, peer)
"""


@dataclass(frozen=True)
class Datagrams:
    """Datagrams to a blocking echo server that is reloaded all the time."""

    sent: int
    lost: int
    reloads: int
    failed: int


def datagrams(count: int) -> Datagrams:
    """Send `count` datagrams, each after the answer to the one before, during reloads."""
    with temporary() as folder:
        port = wait.free_port(socket.SOCK_DGRAM)
        program = Program(folder, port)
        program.write(f"PORT = {port}\n{ECHO}")
        options = ("--lanes", "require")
        command = [sys.executable, "-I", str(program.path)]
        listen = (f"udp:127.0.0.1:{port}",)
        with Service(command, folder=folder, listen=listen, options=options) as service:
            service.wait_ready()
            child = os.fork()
            if child == 0:
                os._exit(min(255, _echoes(port, count)))
            reloads = failed = 0
            while os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                failed += service.reload("--wait-drained").code != 0
                reloads += 1
            lost = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Datagrams(count, lost, reloads, failed)


def _echoes(port: int, count: int) -> int:
    """How many of so many datagrams are lost."""
    lost = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(2.0)
        for number in range(count):
            sent = b"%d" % number
            client.send(sent)
            try:
                while client.recv(100) != sent:
                    pass  # The late answer to one that counts as lost.
            except TimeoutError:
                lost += 1
    return lost


@dataclass(frozen=True)
class Taken:
    """A canary of half of the clients that is taken back by hand, under load."""

    seconds: float  # from the command's arrival at the supervisor to its last new client
    requests: int
    failures: int


COUNTED = """
log = open(PATH, "a", buffering=1)

def accept_and_tell(listener):
    while True:
        connection, _ = listener.accept()
        log.write(f"{VERSION.decode()} {time.time()}\\n")
        threading.Thread(target=serve, args=(connection,)).start()

accept_and_tell(bound())
"""


ANSWERS = 400
"""That the canary gives before it is taken back, and its predecessor afterwards."""
CALLER = """
import socket, sys, time
control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
sys.stdin.readline()
asked = time.time()
control.sendall(b'{"method": "org.sockact.Service.Rollback"}\\0')
control.recv(100_000)
print(asked)
"""


def _calling(control: Path) -> subprocess.Popen[str]:
    """A process that is connected to the supervisor. With the first line that it gets, it has the
    canary taken back; it prints when it sent the call. Its own start takes no part in that, nor do
    the threads of this process.
    """
    command = [sys.executable, "-c", CALLER, str(control)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def rollback() -> Taken:
    """Take a canary back at 50 %."""
    with temporary() as folder:
        program, log = Program(folder), folder / "accepted"
        text = f"PATH = {str(log)!r}\n{COUNTED}"
        program.publish("1", text)
        options = ("--lanes", "require")
        with Service(
            program.command, folder=folder, listen=program.listen, options=options
        ) as service:
            service.wait_ready()
            program.publish("2", text)
            with (
                _calling(service.control) as caller,
                Hammer(program.port, clients=4) as hammer,
            ):
                service.reload("--canary", "50% 1h", "--timeout", "10ms")
                wait.until(lambda: hammer.answers["2"] > ANSWERS, "the canary's answers")
                asked = float(caller.communicate("\n")[0])
                before = hammer.answers["1"]
                wait.until(lambda: hammer.answers["1"] > before + ANSWERS, "answers")
        lines = [line.split() for line in log.read_text().splitlines()]
    last = max(float(at) for version, at in lines if version == "2")
    return Taken(max(0.0, last - asked), sum(hammer.answers.values()), len(hammer.failures))
