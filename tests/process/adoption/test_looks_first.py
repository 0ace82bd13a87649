"""A program that looks by connect() whether its address is free, before it binds."""

from __future__ import annotations

import json
import socket
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


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_port(start: StartService, program: Program, host: str) -> None:
    body = f"{LOOK}refuse_if_in_use(({host!r}, PORT), socket.AF_INET)\naccept(bound())\n"
    program.publish("1", body)
    service = start(program.command, listen=program.listen)
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
def test_unix_socket(start: StartService, program: Program, folder: Path, name: str) -> None:
    """As Puma, Unicorn and php-fpm do; here with a path relative to the working directory, too."""
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
    service = start(program.command, listen=(listen,))
    program.publish("2", body)
    assert service.reload("--wait-drained").code == 0, service.stderr


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
