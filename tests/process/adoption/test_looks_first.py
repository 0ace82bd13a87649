"""A program that looks by connect() whether its address is free, before it binds."""

from __future__ import annotations

import errno
import json
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import wait
from tests.support.program import Program, ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

LOOK = """
def answers(address, family):
    with socket.socket(family) as probe:
        try:
            probe.connect(address)
        except OSError as error:
            return error.errno
    return 0
def refuse_if_in_use(address, family):
    if not answers(address, family):
        sys.exit(f"{address} is in use")
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


WAYS = {
    "shim": ((sys.executable,), ()),
    "shim adopts": ((sys.executable,), ("--adopt", "shim")),
    "no shim": ((sys.executable, "-I"), ("--adopt", "seccomp-connect")),
}
"""How Python is started, and sockact."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return WAYS[request.param]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_port(
    start: StartService,
    program: Program,
    host: str,
    way: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    python, options = way
    body = f"{LOOK}refuse_if_in_use(({host!r}, PORT), socket.AF_INET)\naccept(bound())\n"
    program.publish("1", body)
    service = start([*python, str(program.path)], listen=program.listen, options=options)
    program.publish("2", body)
    assert service.reload("--wait-drained").code == 0, service.stderr
    assert program.ask() == "2"


def test_ipv6(start: StartService, program: Program) -> None:
    address = ("::1", program.port)
    body = f"{LOOK}refuse_if_in_use({address}, socket.AF_INET6)\n"
    program.publish("1", f"{body}accept(bound({address}, socket.AF_INET6))\n")
    start(program.command, listen=(f"[::1]:{program.port}",))
    assert ask(address) == "1"


@pytest.mark.parametrize("name", ["{folder}/app.sock", "app.sock", "\0{folder}"])
def test_unix_socket(
    start: StartService,
    program: Program,
    folder: Path,
    name: str,
    way: tuple[tuple[str, ...], tuple[str, ...]],
) -> None:
    """Also with a path relative to the working directory."""
    python, options = way
    listen = str(folder / "app.sock")
    if "\0" in name:
        listen = f"@{folder}"
    name = name.format(folder=folder)
    remove = f"os.path.exists({name!r}) and os.unlink({name!r})\n" if "\0" not in name else ""
    body = (
        f"{LOOK}os.chdir({str(folder)!r})\nrefuse_if_in_use({name!r}, socket.AF_UNIX)\n"
        f"{remove}accept(bound({name!r}, socket.AF_UNIX))\n"
    )
    program.publish("1", body)
    service = start([*python, str(program.path)], listen=(listen,), options=options)
    program.publish("2", body)
    assert service.reload("--wait-drained").code == 0, service.stderr


def test_known_program(start: StartService, program: Program, folder: Path) -> None:
    """As Puma and php-fpm do: with a whole struct sockaddr_un, and without a shim."""
    path = str(folder / "app.sock")
    body = (
        "import ctypes, struct\n"
        "libc, probe = ctypes.CDLL(None, use_errno=True), socket.socket(socket.AF_UNIX)\n"
        f"whole = struct.pack('=H108s', socket.AF_UNIX, {path.encode()!r})\n"
        "assert libc.connect(probe.fileno(), whole, len(whole)), 'it is in use'\n"
        f"os.unlink({path!r})\n"
        f"accept(bound({path!r}, socket.AF_UNIX))\n"
    )
    program.publish("1", body)
    puma = folder / "puma"
    puma.symlink_to(program.path)
    service = start([sys.executable, "-I", str(puma)], listen=(path,))
    assert service.reload("--wait-drained").code == 0, service.stderr


@pytest.mark.parametrize("call", ["connect", "connect_ex"])
def test_the_shim_takes_its_wrappers_back(
    start: StartService, program: Program, folder: Path, call: str
) -> None:
    path = folder / "found"
    program.publish(
        "1",
        f"import json\n"
        "def look():\n"
        "    with socket.socket() as probe:\n"
        f"        try: return probe.{call}(('127.0.0.1', PORT)) or 0\n"
        "        except ConnectionRefusedError as error: return error.errno\n"
        f"def wrapped(): return {call!r} in vars(socket.socket)\n"
        "found = [wrapped(), look(), wrapped()]\n"
        "listener = bound()\n"
        "found += [look(), wrapped()]\n"
        f"with open({str(path)!r} + '.new', 'w') as file:\n"
        "    json.dump(found, file)\n"
        f"os.rename({str(path)!r} + '.new', {str(path)!r})\n"
        "accept(listener)\n",
    )
    start(program.command, listen=program.listen)
    wait.until(path.exists, "the result")
    refused = errno.ECONNREFUSED
    assert json.loads(path.read_text()) == [True, refused, True, 0, False]


def test_other_connections_pass(start: StartService, program: Program, folder: Path) -> None:
    """To another port, to itself once it has bound, and to itself while it serves."""
    path = folder / "errors"
    with socket.create_server(("127.0.0.1", 0)) as other:
        program.publish(
            "1",
            f"{LOOK}import json\n"
            f"found = [answers({other.getsockname()}, socket.AF_INET)]\n"
            "listener = bound()\n"
            "found.append(answers(('127.0.0.1', PORT), socket.AF_INET))\n"
            f"with open({str(path)!r} + '.new', 'w') as file:\n"
            "    json.dump(found, file)\n"
            f"os.rename({str(path)!r} + '.new', {str(path)!r})\n"
            "accept(listener)\n",
        )
        start(program.command, listen=program.listen)
    wait.until(path.exists, "the errors")
    found: Any = json.loads(path.read_text())
    assert found == [0, 0]
