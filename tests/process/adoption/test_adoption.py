"""The program's own bind() and listen() end up on the listener, for every method and kind."""

from __future__ import annotations

import json
import os
import socket
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import service as support
from tests.support import wait
from tests.support.program import Program, ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

WAYS = ("seccomp", "shim", "native")

# As a careful server binds: remove a stale file first. Natively: take what was passed, in order.
GET = """
numbers = iter(range(3, 64))
def get(address, family, kind=socket.SOCK_STREAM):
    if "LISTEN_FDS" in os.environ:
        return socket.socket(fileno=next(numbers))
    if isinstance(address, str) and address[0] == "/" and os.path.exists(address):
        os.unlink(address)
    found = socket.socket(family, kind)
    found.bind(address)
    if kind == socket.SOCK_STREAM:
        found.listen()
    return found

def echo(listener):
    while True:
        _, peer = listener.recvfrom(100)
        listener.sendto(VERSION, peer)

def tell(path, **facts):
    import json
    with open(path + ".new", "w") as file:
        json.dump(facts, file)
    os.rename(path + ".new", path)
"""


@dataclass(frozen=True)
class Listens:
    """A kind of listener: for --listen, for bind() and for the client."""

    name: str
    listen: str
    bind: str
    address: tuple[str, int] | str | bytes

    @property
    def body(self) -> str:
        use = "echo" if self.name == "udp" else "accept"
        return GET + f"{use}(get({self.bind}))\n"

    def ask(self) -> str:
        if self.name != "udp":
            return ask(self.address)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(wait.TIMEOUT)
            sock.sendto(b"fast", self.address)
            return sock.recv(100).decode()


@pytest.fixture(params=["ipv4", "ipv6", "unix", "abstract", "udp"])
def listens(request: pytest.FixtureRequest, program: Program, folder: Path) -> Listens:
    port, path, name = program.port, str(folder / "app.sock"), f"{folder}/abstract"
    v4, v6 = ("127.0.0.1", port), ("::1", port)
    return {
        "ipv4": Listens("ipv4", f"127.0.0.1:{port}", f"{v4}, socket.AF_INET", v4),
        "ipv6": Listens("ipv6", f"[::1]:{port}", f"{v6}, socket.AF_INET6", v6),
        "unix": Listens("unix", path, f"{path!r}, socket.AF_UNIX", path),
        "abstract": Listens(
            "abstract", f"@{name}", f"'\\0{name}', socket.AF_UNIX", b"\0" + name.encode()
        ),
        "udp": Listens(
            "udp", f"udp:127.0.0.1:{port}", f"{v4}, socket.AF_INET, socket.SOCK_DGRAM", v4
        ),
    }[request.param]


def inode(path: str) -> int:
    return os.stat(path).st_ino


@pytest.mark.parametrize("adopt", WAYS)
def test_each_way_and_kind(
    start: StartService, program: Program, listens: Listens, adopt: str
) -> None:
    program.publish("1", listens.body)
    service = start(program.command, listen=(listens.listen,), options=("--adopt", adopt))
    assert service.status()["adopt"] == adopt
    assert listens.ask() == "1"
    path = listens.address if listens.name == "unix" else "/"
    assert isinstance(path, str)
    before = inode(path)
    program.publish("2", listens.body)
    assert service.reload("--wait-drained").code == 0, service.stderr
    assert listens.ask() == "2"
    assert inode(path) == before


@pytest.mark.parametrize("adopt", WAYS)
def test_two_listeners(start: StartService, program: Program, folder: Path, adopt: str) -> None:
    path = str(folder / "app.sock")
    program.publish(
        "1",
        f"{GET}a = get(('127.0.0.1', {program.port}), socket.AF_INET)\n"
        f"b = get({path!r}, socket.AF_UNIX)\n"
        "threading.Thread(target=accept, args=(a,)).start()\naccept(b)\n",
    )
    start(program.command, listen=(*program.listen, path), options=("--adopt", adopt))
    assert (program.ask(), ask(path)) == ("1", "1")


def test_both_listeners_are_needed(start: StartService, program: Program, folder: Path) -> None:
    """A generation that adopted only one of them does not serve."""
    path = str(folder / "app.sock")
    options = ("--start-timeout", "3s")
    service = start(program.command, listen=(*program.listen, path), options=options, ready=False)
    assert service.process.wait(10) != 0
    assert path in service.stderr.splitlines()[-1]


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
@pytest.mark.parametrize("wrapper", [["sh", "-c", '"$@"; exit', "sh"], ["env", "X=1"]])
def test_through_others(
    start: StartService, program: Program, wrapper: list[str], adopt: str
) -> None:
    service = start([*wrapper, *program.command], listen=program.listen, options=("--adopt", adopt))
    program.publish("2")
    assert service.reload("--wait-drained").code == 0
    assert program.ask() == "2"


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
@pytest.mark.parametrize(
    "body",
    [
        "threading.Thread(target=lambda: accept(bound())).start()\n",
        "if os.fork():\n    os.wait()\nelse:\n    accept(bound())\n",
    ],
    ids=["thread", "forked worker"],
)
def test_bind_elsewhere(start: StartService, program: Program, body: str, adopt: str) -> None:
    program.publish("1", body)
    start(program.command, listen=program.listen, options=("--adopt", adopt))
    assert program.ask() == "1"


def facts(path: Path) -> dict[str, Any]:
    """What the program reported about itself."""
    wait.until(path.exists, "the program's facts")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
def test_each_bind_of_the_address_gets_the_listener(
    start: StartService, program: Program, folder: Path, adopt: str
) -> None:
    """granian, uWSGI and others bind once for each worker, with SO_REUSEPORT."""
    program.publish(
        "1",
        GET + "def one():\n"
        "    found = socket.socket()\n"
        "    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)\n"
        "    found.bind(('127.0.0.1', PORT))\n"
        "    found.listen()\n"
        "    return found\n"
        "a, b = one(), one()\n"
        f"tell({str(folder / 'facts')!r}, inodes=[os.fstat(x.fileno()).st_ino for x in (a, b)])\n"
        "accept(b)\n",
    )
    start(program.command, listen=program.listen, options=("--adopt", adopt))
    one, other = facts(folder / "facts")["inodes"]
    assert one == other
    assert program.ask() == "1"


@pytest.mark.parametrize("adopt", ["seccomp", "shim"])
@pytest.mark.parametrize("blocking", [True, False])
@pytest.mark.parametrize("inheritable", [True, False])
def test_flags_are_carried(
    start: StartService,
    program: Program,
    folder: Path,
    blocking: bool,
    inheritable: bool,
    adopt: str,
) -> None:
    program.publish(
        "1",
        GET + "import select\nfound = socket.socket()\n"
        f"found.setblocking({blocking})\nfound.set_inheritable({inheritable})\n"
        "found.bind(('127.0.0.1', PORT))\nfound.listen()\n"
        "blocking, inheritable = os.get_blocking(found.fileno()), found.get_inheritable()\n"
        f"tell({str(folder / 'facts')!r}, blocking=blocking, inheritable=inheritable)\n"
        "while True:\n"
        "    select.select([found], [], [])\n"
        "    connection, _ = found.accept()\n"
        "    connection.setblocking(True)\n"
        "    serve(connection)\n",
    )
    start(program.command, listen=program.listen, options=("--adopt", adopt))
    assert program.ask() == "1"
    assert facts(folder / "facts") == {"blocking": blocking, "inheritable": inheritable}


@pytest.mark.parametrize("adopt", WAYS)
def test_the_environment_and_descriptors_of_the_program(
    start: StartService, program: Program, folder: Path, adopt: str
) -> None:
    """No variable meant for the supervisor, and none of its descriptors."""
    program.publish(
        "1",
        GET + f"tell({str(folder / 'facts')!r}, environment=dict(os.environ), "
        "fds=sorted(map(int, os.listdir('/proc/self/fd')))[:-1])\n"
        f"accept(get(('127.0.0.1', {program.port}), socket.AF_INET))\n",
    )
    environment = {**os.environ, "WATCHDOG_USEC": "60000000", "LISTEN_PIDFDID": "1", "MINE": "yes"}
    options = ("--adopt", adopt)
    start(program.command, listen=program.listen, options=options, environment=environment)
    found = facts(folder / "facts")
    listen = "LISTEN_PIDFDID" if adopt == "native" else "LISTEN_"
    meant = ("NOTIFY_SOCKET", "WATCHDOG_", listen)
    assert [key for key in found["environment"] if key.startswith(meant)] == []
    assert found["environment"]["MINE"] == "yes"
    assert found["fds"] == ([0, 1, 2, 3] if adopt == "native" else [0, 1, 2])


# What systemd does between fork and exec. Commands that are run later have no such descriptors.
AS_SYSTEMD = """
import os, sys
for target, fd in enumerate({fds}, 3):
    try:
        os.dup2(fd, target)
    except OSError:
        pass
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv({sockact[0]!r}, [*{sockact!r}, *sys.argv[1:]])
"""


@pytest.mark.parametrize("adopt", WAYS)
def test_listeners_of_systemd(
    start: StartService, program: Program, monkeypatch: pytest.MonkeyPatch, adopt: str
) -> None:
    """Their names may repeat; they stay open when the service has stopped."""
    with socket.create_server(("127.0.0.1", 0)) as a, socket.create_server(("127.0.0.1", 0)) as b:
        fds = (a.fileno(), b.fileno())
        through = (sys.executable, "-c", AS_SYSTEMD.format(fds=fds, sockact=support.SOCKACT))
        monkeypatch.setattr(support, "SOCKACT", through)
        addresses = [a.getsockname(), b.getsockname()]
        program.publish(
            "1",
            f"{GET}a, b = [get(address, socket.AF_INET) for address in {addresses!r}]\n"
            "threading.Thread(target=accept, args=(a,)).start()\naccept(b)\n",
        )
        environment = {**os.environ, "LISTEN_FDS": "2", "LISTEN_FDNAMES": "web:web"}
        service = start(
            program.command, environment=environment, pass_fds=fds, options=("--adopt", adopt)
        )
        assert [ask(address) for address in addresses] == ["1", "1"]
        assert [one["name"] for one in service.status()["listeners"]] == ["web", "web"]
        assert service.stop() == 0
        socket.create_connection(addresses[0]).close()
