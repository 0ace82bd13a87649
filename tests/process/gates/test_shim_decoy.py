"""The decoy that replaces a listener while the gate is closed: same family, unreachable."""

from __future__ import annotations

import errno
import shlex
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.adoption.test_shim_wire import PYTHON, SHIM, Run, Supervisor, run, supervisor
from tests.process.gates.test_shim_gate import (
    PREAMBLE,
    Listener,
    share,
    start,
    waits_in_accept,
)
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["run", "supervisor"]  # fixtures


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6, socket.AF_UNIX], ids=lambda f: f.name)
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listener]:
    sock = socket.socket(request.param)
    names: dict[socket.AddressFamily, tuple[str, int] | str] = {
        socket.AF_INET: ("127.0.0.1", 0),
        socket.AF_INET6: ("::1", 0),
        socket.AF_UNIX: str(tmp_path / "s"),
    }
    sock.bind(names[request.param])
    sock.listen(16)
    made = Listener(sock)
    yield made
    made.close()
    (tmp_path / "s").unlink(missing_ok=True)


def test_the_program_has_no_capabilities(run: Run) -> None:
    """A decoy once needed privileges that only root has, and no test noticed."""
    program = run.obedient()
    status = Path(f"/proc/{program.pid}/status").read_text()
    assert int(status.split("CapEff:")[1].split()[0], 16) == 0


def test_nobody_can_connect(run: Run, supervisor: Supervisor, listener: Listener) -> None:
    program = share(run, listener)
    supervisor.order(program.pid, listener.close_order)
    name = program.do("result = listener.getsockname()")
    if listener.socket.family is socket.AF_UNIX:
        assert not Path(name).exists()
        return
    assert tuple(name) != listener.socket.getsockname()
    with socket.socket(listener.socket.family) as client:
        client.setblocking(False)
        assert client.connect_ex(tuple(name)) == errno.EINPROGRESS
        assert not wait.writable(client.fileno(), timeout=0.1), "the packets are dropped"


def test_a_server_may_remove_the_path_that_its_listener_tells(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    """As gunicorn does at its exit, for every listener whose name is a string."""
    program = share(run, listener)
    supervisor.order(program.pid, listener.close_order)
    told = program.do("result = name = listener.getsockname()")
    if isinstance(told, str):
        program.do("os.unlink(name); os.remove(name)")
    else:
        assert listener.socket.family is not socket.AF_UNIX


def test_other_files_are_removed(
    run: Run, supervisor: Supervisor, listener: Listener, tmp_path: Path
) -> None:
    program = share(run, listener)
    supervisor.order(program.pid, listener.close_order)
    (tmp_path / "other").touch()
    program.do(f"os.unlink({str(tmp_path / 'other')!r})")
    assert not (tmp_path / "other").exists()


def test_the_gate_opens_again(run: Run, supervisor: Supervisor, listener: Listener) -> None:
    program = share(run, listener)
    before = program.do("result = listener.getsockname()")
    supervisor.order(program.pid, listener.close_order)
    supervisor.order(program.pid, listener.open_order)
    assert program.do("result = listener.getsockname()") == before


WITHOUT_IPV6 = """
import errno, select, socket, sys
sys.path.insert(0, sys.argv[1])
from sockact_shim import decoy
listener = socket.create_server(("::", 0), family=socket.AF_INET6)
made = socket.socket(fileno=decoy.make(listener.fileno())[0])
assert made.family == socket.AF_INET6
client = socket.socket()
client.setblocking(False)
assert client.connect_ex(("127.0.0.1", made.getsockname()[1])) == errno.EINPROGRESS
assert not select.select([], [client], [], 0.1)[1], "the packets are dropped"
"""


def test_where_ipv6_is_disabled() -> None:
    namespace = ["unshare", "--map-root-user", "--net", "sh", "-ec"]
    disable = "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up"
    program = shlex.join([PYTHON, "-c", WITHOUT_IPV6, str(SHIM)])
    subprocess.run([*namespace, f"{disable}; exec {program}"], check=True)


TOLD_WRONGLY = (
    PREAMBLE
    + """
first = listener.accept()[0]
print(flush=True)
listener.accept()[0].close()
first.sendall(first.recv(9))
listener.accept()
"""
)


@pytest.mark.parametrize("listener", [socket.AF_INET, socket.AF_INET6], indirect=True)
def test_a_loop_told_of_a_client_that_the_successor_accepted(
    run: Run, supervisor: Supervisor, listener: Listener
) -> None:
    """A single thread that waits in accept() goes on with the clients that it has."""
    program = start(run, listener, TOLD_WRONGLY)
    with socket.socket(listener.socket.family) as client:
        client.settimeout(wait.TIMEOUT)
        client.connect(listener.socket.getsockname())
        client.sendall(b"well")
        program.line()
        wait.until(lambda: waits_in_accept(program.pid, program.pid), "it to accept")
        assert supervisor.order(program.pid, listener.close_order) == ["done gate 1"]
        assert client.recv(9) == b"well"
