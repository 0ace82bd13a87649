"""A file whose content never arrives: a FUSE file system of a few lines, whose server does not
answer some requests. Whoever reads a page of it waits until the server is killed.

It is mounted in the server's own mount namespace, which ends with it, and reached through /proc.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SERVER = """
import ctypes, os, struct, sys
where = sys.argv[1].encode()
libc = ctypes.CDLL(None, use_errno=True)
def check(result):
    if result:
        sys.exit(os.strerror(ctypes.get_errno()))
check(libc.prctl(1, 9, 0, 0, 0))
check(libc.unshare(0x20000))
check(libc.mount(b"none", b"/", None, 0x44000, None))
fuse = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
check(libc.mount(b"stuck", where, b"fuse", 6, options))
INIT = struct.pack("<4I2H2I2HI7I", 7, 31, 65536, 0, 12, 9, 4096, 1, 1, 0, 0, *[0] * 7)
def attributes(node):
    mode = 0o40755 if node == 1 else 0o100666
    return struct.pack("<6Q10I", node, 4096, 8, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 4096, 0)
print("mounted", flush=True)
while True:
    _, call, unique, node = struct.unpack_from("<IIQQ", os.read(fuse, 1 << 20))
    answer, error = b"", 0
    if call == 26:
        answer = INIT
    elif call == 3:
        answer = struct.pack("<QII", 3600, 0, 0) + attributes(node)
    elif call == 1:
        answer = struct.pack("<4Q2I", 2, 0, 3600, 3600, 0, 0) + attributes(2)
    elif call in (14, 27):
        answer = struct.pack("<QII", 1, 0, 0)
    elif call in (2, 15, 22):
        continue  # FORGET has no answer; READ and GETXATTR get none.
    elif call not in (25, 18, 29):
        error = -38
    os.write(fuse, struct.pack("<IiQ", 16 + len(answer), error, unique) + answer)
"""

PAGE = """
import ctypes, mmap, os, select, socket, struct, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
def page(path):
    file = os.open(path, os.O_RDWR)
    both = mmap.PROT_READ | mmap.PROT_WRITE
    mapped = mmap.mmap(file, 4096, flags=mmap.MAP_PRIVATE, prot=both)
    return mapped, ctypes.addressof(ctypes.c_char.from_buffer(mapped)), file
"""
"""For programs: page(path) maps a page of the file; returns (map, address, descriptor)."""


@contextlib.contextmanager
def stuck_file(folder: Path) -> Iterator[str]:
    """The path of such a file, until the end of the block. Skips the test where it cannot be."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        pytest.skip("needs root and /dev/fuse")
    where = folder / "stuck"
    where.mkdir()
    with subprocess.Popen(
        [sys.executable, "-I", "-c", _SERVER, str(where)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        try:
            assert server.stdout
            assert server.stderr
            if server.stdout.readline() != "mounted\n":
                pytest.skip(f"cannot mount FUSE: {server.stderr.read().strip()}")
            yield f"/proc/{server.pid}/root{where}/file"
        finally:
            server.kill()


def is_stuck(pid: int) -> bool:
    """Whether a thread of the process waits for the page."""
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/wchan") as file:
            if file.read() in ("request_wait_answer", "folio_wait_bit_common"):
                return True
    return False
