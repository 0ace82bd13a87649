"""Who gets a listener: only what the kernel could have given the address to, too."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.support.program import Program, ask

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")

# The job tells what became of its bind(), and would answer clients as "thief".
JOB = """
import ctypes
import encodings.idna  # The Python that runs the tests may be root's alone.
NOBODY, NETWORK, MOUNTS = 65534, 0x40000000, 0x00020000

def become_nobody():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)

def leave(namespaces):
    assert ctypes.CDLL(None).unshare(namespaces) == 0

def job(prepare, address=("127.0.0.1", PORT), family=socket.AF_INET):
    global VERSION
    if os.fork():
        return
    VERSION = b"thief"
    try:
        prepare()
        found = bound(address, family)
    except OSError as error:
        print("job:", error, flush=True)
        os._exit(0)
    print("job: bound", flush=True)
    accept(found)

def hide():
    leave(MOUNTS)
    libc, folder = ctypes.CDLL(None), os.path.dirname(PATH).encode()
    assert libc.mount(None, b"/", None, 1 << 18 | 1 << 14, None) == 0
    assert libc.mount(b"none", folder, b"tmpfs", 0, None) == 0
"""


@pytest.fixture
def program(folder: Path) -> Program:
    return Program(folder)


def outcome(stderr: str) -> str:
    """What became of the bind() of the job; "" while that is unknown."""
    found = re.search(r"^job: (.*)$", stderr, re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("way", ["seccomp", "shim"])
@pytest.mark.parametrize("prepare", ["become_nobody", "lambda: leave(NETWORK)"])
def test_a_job_in_a_sandbox(start: StartService, program: Program, way: str, prepare: str) -> None:
    """Another user gets the error of the kernel; another network namespace has its own address."""
    program.publish("1", f"{JOB}found = bound()\njob({prepare})\naccept(found)\n")
    service = start(program.command, listen=program.listen, options=("--adopt", way))
    wait.until(lambda: outcome(service.stderr), "the job to bind")
    expected = "[Errno 98] Address already in use" if "nobody" in prepare else "bound"
    # In a network namespace of its own 127.0.0.1 is there, though the interface is down.
    assert outcome(service.stderr) == expected
    assert {program.ask() for _ in range(20)} == {"1"}


def test_a_job_with_a_file_system_of_its_own(
    start: StartService, program: Program, folder: Path
) -> None:
    path = str(folder / "run" / "app.sock")
    (folder / "run").mkdir()
    address = f"{path!r}, socket.AF_UNIX"
    body = f"PATH = {path!r}\nfound = bound({address})\njob(hide, {address})\naccept(found)\n"
    program.publish("1", JOB + body)
    service = start(program.command, listen=(path,))
    wait.until(lambda: outcome(service.stderr), "the job to bind")
    assert outcome(service.stderr) == "bound"
    assert {ask(path) for _ in range(20)} == {"1"}


@pytest.mark.parametrize("way", ["seccomp", "shim"])
def test_a_program_that_drops_its_rights_before_it_binds(
    start: StartService, program: Program, way: str
) -> None:
    program.publish("1", JOB + "become_nobody()\naccept(bound())\n")
    service = start(program.command, listen=program.listen, options=("--adopt", way))
    assert program.ask() == "1"
    assert service.reload().code == 0, service.stderr


def test_a_launcher_that_waits_for_a_program_of_another_user(
    start: StartService, program: Program
) -> None:
    """As su, runuser and sudo do."""
    body = "if os.fork():\n    os.wait()\nelse:\n    become_nobody()\n    accept(bound())\n"
    program.publish("1", JOB + body)
    service = start(program.command, listen=program.listen)
    assert program.ask() == "1"
    assert service.reload().code == 0, service.stderr


def test_another_user_beside_the_program_is_named(start: StartService, program: Program) -> None:
    """The program itself has not bound yet: the message names the process, its user and why."""
    program.publish("1")
    service = start(program.command, listen=program.listen, options=("--start-timeout", "1s"))
    program.publish(
        "2", JOB + "job(lambda: None, ('127.0.0.1', 0))\njob(become_nobody)\nos.wait()\n"
    )
    failed = service.reload()
    assert failed.code == 1
    assert program.ask() == "1"
    assert re.search(
        r"process \d+ bound 127\.0\.0\.1:\d+, but as user 65534, and the program's first process "
        "ran as 0 only",
        failed.stderr,
    ), failed.stderr
