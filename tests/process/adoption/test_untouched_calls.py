"""Calls that have nothing to do with a listener, or make no sense, are left to the kernel."""

from __future__ import annotations

import ctypes
import errno
import json
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest

from tests.process.adoption.test_adoption import GET, facts
from tests.support.program import Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

WAYS = ("seccomp", "shim")

# Calls of bind() and unlink() that no server makes, as source, because the wrapped program and this
# process make the same ones. Each gives an errno.
GARBAGE = """
def garbage(port, path):
    import ctypes, os, socket, struct
    libc = ctypes.CDLL(None, use_errno=True)
    def call(function, *arguments):
        ctypes.set_errno(0)
        return ctypes.get_errno() if function(*arguments) < 0 else 0
    inet = struct.pack("=H", socket.AF_INET) + struct.pack("!H4s8x", port, b"\\x7f\\0\\0\\1")
    inet6 = struct.pack("=H", socket.AF_INET6) + struct.pack("!HI", port, 0) + bytes(20)
    unix = struct.pack("=H", socket.AF_UNIX) + path.encode()
    def bind(fd, address, length, pointer=None):
        where = ctypes.c_char_p(address) if pointer is None else ctypes.c_void_p(pointer)
        return call(libc.bind, ctypes.c_int(fd), where, ctypes.c_uint(length & 0xFFFFFFFF))
    found = {}
    with socket.socket() as s, socket.socket(socket.AF_INET6) as s6, socket.socket(
        socket.AF_UNIX
    ) as u, open("/dev/null") as null:
        fd = s.fileno()
        for name, pointer in ("null", 0), ("low", 8), ("minus one", 2**64 - 1), ("high", 2**63):
            found[f"pointer {name}"] = bind(fd, None, 16, pointer)
        for length in (0, 1, 2, 8, 15, 129, 4096, 0x7FFFFFFF, 0x80000000, -1):
            found[f"length {length}"] = bind(fd, inet.ljust(4096, b"\\0"), length)
        for length in (0, 2, 8, 23, 129, -1):
            found[f"length {length} of ipv6"] = bind(s6.fileno(), inet6.ljust(4096, b"\\0"), length)
        for length in (0, 1, 111, 4096, -1):
            found[f"length {length} of unix"] = bind(u.fileno(), unix.ljust(4096, b"\\0"), length)
        found["ipv6 address on ipv4"] = bind(fd, inet6, 28)
        found["ipv4 address on ipv6"] = bind(s6.fileno(), inet.ljust(28, b"\\0"), 28)
        found["ipv4 address on unix"] = bind(u.fileno(), inet, 16)
        found["unix address on ipv4"] = bind(fd, unix, len(unix))
        found["file"] = bind(null.fileno(), inet, 16)
        found["no descriptor"] = bind(-1, inet, 16)
        found["closed descriptor"] = bind(999, inet, 16)
        found["unknown family"] = bind(fd, struct.pack("=H", 999) + inet[2:], 16)
        found["listen on a file"] = call(libc.listen, ctypes.c_int(null.fileno()), 1)
        found["listen on nothing"] = call(libc.listen, ctypes.c_int(-1), 1)
    for name, pointer in ("null", 0), ("minus one", 2**64 - 1):
        found[f"unlink {name}"] = call(libc.unlink, ctypes.c_void_p(pointer))
    found["unlink nothing"] = call(libc.unlink, b"")
    found["unlink what is not"] = call(libc.unlink, b"/nonexistent/file")
    found["unlink a long name"] = call(libc.unlink, b"/" + b"x" * 5000)
    found["unlinkat no folder"] = call(libc.unlinkat, ctypes.c_int(-1), b"x", 0)
    found["unlinkat the socket as a folder"] = call(
        libc.unlinkat, ctypes.c_int(-100), path.encode(), 0x200
    )
    return found
"""


def expected(port: int, path: str) -> dict[str, int]:
    """The kernel's answers to this process."""
    namespace: dict[str, Any] = {}
    exec(GARBAGE, namespace)
    found: dict[str, int] = namespace["garbage"](port, path)
    return found


@pytest.mark.parametrize("adopt", WAYS)
def test_garbage_gives_the_errno_of_the_kernel(
    start: StartService, program: Program, folder: Path, adopt: str
) -> None:
    path = str(folder / "app.sock")
    program.publish(
        "1",
        f"{GET}{GARBAGE}"
        f"a, b = bound(), get({path!r}, socket.AF_UNIX)\n"
        f"tell({str(folder / 'facts')!r}, found=garbage(PORT, {path!r}))\n"
        "threading.Thread(target=accept, args=(a,)).start()\naccept(b)\n",
    )
    start(program.command, listen=(*program.listen, path), options=("--adopt", adopt))
    found = facts(folder / "facts")["found"]
    assert found == expected(program.port, path)
    assert found["pointer null"] == errno.EFAULT
    assert program.ask() == "1"


@pytest.mark.parametrize("adopt", WAYS)
def test_other_addresses_are_bound(
    start: StartService, program: Program, folder: Path, adopt: str
) -> None:
    path = str(folder / "other.sock")
    program.publish(
        "1",
        f"{GET}free = bound(('127.0.0.1', 0))\n"
        f"metrics = bound({path!r}, socket.AF_UNIX)\n"
        "threading.Thread(target=accept, args=(free,)).start()\n"
        f"tell({str(folder / 'facts')!r}, port=free.getsockname()[1])\n"
        "accept(bound())\n",
    )
    start(program.command, listen=program.listen, options=("--adopt", adopt))
    port = facts(folder / "facts")["port"]
    assert port not in (0, program.port)
    assert Program(folder, port).ask() == "1"
    assert os.path.exists(path)
    os.unlink(path)


@pytest.mark.parametrize("adopt", WAYS)
def test_other_files_are_removed(
    start: StartService, program: Program, folder: Path, adopt: str
) -> None:
    path, other = folder / "app.sock", folder / "other"
    other.write_text("")
    (folder / "link").symlink_to(folder)
    program.publish(
        "1",
        f"{GET}found = get({str(path)!r}, socket.AF_UNIX)\n"
        f"os.unlink({str(other)!r})\n"
        # By whatever name, the socket's file stays.
        f"os.unlink({str(path)!r})\n"
        f"os.remove({str(folder / 'link' / 'app.sock')!r})\n"
        f"os.chdir({str(folder)!r})\nos.unlink('app.sock')\nos.remove('./app.sock')\n"
        # Relative to a descriptor only seccomp sees what is meant.
        f"if {adopt == 'seccomp'}: os.unlink('app.sock', dir_fd=os.open('.', os.O_RDONLY))\n"
        "accept(found)\n",
    )
    start(program.command, listen=(str(path),), options=("--adopt", adopt))
    assert path.is_socket()
    assert not other.exists()


@pytest.mark.parametrize("adopt", WAYS)
def test_no_new_privs(start: StartService, program: Program, folder: Path, adopt: str) -> None:
    """Only without CAP_SYS_ADMIN, and only for seccomp: a helper like sudo or ping goes on to
    work for a program that root started.
    """
    program.publish(
        "1",
        f"{GET}line = [x for x in open('/proc/self/status') if x.startswith('NoNewPrivs')][0]\n"
        f"tell({str(folder / 'facts')!r}, value=int(line.split()[1]))\naccept(bound())\n",
    )
    start(program.command, listen=program.listen, options=("--adopt", adopt))
    needed = adopt == "seccomp" and os.geteuid() != 0
    assert facts(folder / "facts")["value"] == int(needed or _own_no_new_privs())


def _own_no_new_privs() -> int:
    return int(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))  # PR_GET_NO_NEW_PRIVS


def test_the_garbage_calls_fail(folder: Path) -> None:
    """Nearly all calls of the list fail; otherwise it would test nothing."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        found = expected(sock.getsockname()[1], str(folder / "none"))
    good = [name for name, value in found.items() if not value]
    assert len(good) <= 3, json.dumps(found)
