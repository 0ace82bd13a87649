"""The socket between supervisor and log pump, in both directions, and the output of the program.

The packets are put in by duplicates of the ends that the processes themselves have: pidfd_getfd(2).
None of them orders the log pump to end, and none is empty, which would be the end of the socket.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sockact.kernel import pidfd
from tests.fuzz import mutation
from tests.fuzz.descriptors import attached
from tests.fuzz.harness import Broken, Fuzzer, Vitals
from tests.fuzz.supervised import Supervised, supervised
from tests.support import wait

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

TO_SUPERVISOR: tuple[dict[str, Any], ...] = (
    {"state": 0, "dropped_lines": 1, "dropped_bytes": 1, "waiting_bytes": 1, "error": ""},
    {"state": 0, "dropped_lines": 1, "dropped_bytes": 9, "waiting_bytes": 0, "error": "x\n"},
    {"key": 1, "tail": "line\n", "ended": False},
    {"key": 1, "tail": "line\n", "ended": True},
    {"missing": 1},
    {"reopened": 1, "error": ""},
)
TO_PUMP: tuple[dict[str, Any], ...] = ({"add": 7, "log": 0}, {"reopen": 1}, {"tail": 1})
LONGEST = 100_000
LINES = (b"\n", b"x" * 4000, b"\0" * 100, b"\x1b[2J\r", b"\xff\xfe\xed\xa0\x80", b"a line\n" * 50)


class _Ends:
    """The ends of the socket, and the program's end of the pipe."""

    def __init__(self, chance: random.Random, target: Supervised) -> None:
        self._chance = chance
        self._target = target
        self._pump = _pump(target.pid)
        self._of_supervisor = _packets(target.pid)
        self._of_pump = _packets(self._pump)
        program = target.service.status()["generations"][0]["pid"]
        self._output = open(pidfd.getfd(program, 1), "wb", buffering=0)

    def close(self) -> None:
        """Close the duplicates."""
        for end in (self._of_supervisor, self._of_pump, self._output):
            end.close()

    def send(self, count: int) -> None:
        """Send so many packets and lines."""
        for _ in range(count):
            match self._chance.randrange(5):
                case 0:
                    self._write()
                case 1 | 2:
                    self._tell(self._of_pump, TO_SUPERVISOR)
                case _:
                    self._tell(self._of_supervisor, TO_PUMP)

    def _tell(self, end: socket.socket, known: tuple[dict[str, Any], ...]) -> None:
        data = self._packet(known)[:LONGEST]
        if b'"end"' in data or not data:
            data = b"x"
        if not wait.writable(end.fileno(), wait.TIMEOUT):
            raise Broken(f"nobody reads from the socket: {self._target.service.stderr[-500:]}")
        with attached(self._chance, 5) as ancillary, contextlib.suppress(BlockingIOError):
            end.sendmsg([data], ancillary)

    def _packet(self, known: tuple[dict[str, Any], ...]) -> bytes:
        chance = self._chance
        match chance.randrange(6):
            case 0:
                return chance.randbytes(chance.randrange(1, 9000))
            case 1:
                return mutation.text(chance, mutation.junk(chance))
            case 2:
                return mutation.text(chance, chance.choice(known) | chance.choice(TO_SUPERVISOR))
        return mutation.text(chance, mutation.changed(chance, chance.choice(known)))

    def _write(self) -> None:
        data = self._chance.choice((*LINES, self._chance.randbytes(self._chance.randrange(4000))))
        if not wait.writable(self._output.fileno(), wait.TIMEOUT):
            raise Broken("the program waits for the log pump")
        self._output.write(data)

    def look(self) -> float:
        """Ask honestly; the log pump must be the same."""
        if (pump := _pump(self._target.pid)) != self._pump:
            text = self._target.service.stderr[-1500:]
            raise Broken(f"log pump {self._pump} ended, now it is {pump}: {text}")
        return self._target.look()

    def vitals(self) -> Vitals:
        """Those of the supervisor and the log pump."""
        return self._target.vitals(self._pump)


def _pump(supervisor: int) -> int:
    def found() -> int | None:
        children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
        for pid in children:
            with contextlib.suppress(OSError):
                if Path(f"/proc/{pid}/comm").read_text() == "sockact-log\n":
                    return int(pid)
        return None

    return wait.until(found, "the log pump")


def _packets(pid: int) -> socket.socket:
    """A duplicate of the connected socket for packets that the process has."""
    for name in os.listdir(f"/proc/{pid}/fd"):
        if re.match("socket:", os.readlink(f"/proc/{pid}/fd/{name}")):
            sock = socket.socket(fileno=pidfd.getfd(pid, int(name)))
            accepts = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if sock.type == socket.SOCK_SEQPACKET and not accepts:
                return sock
            sock.close()
    raise Broken(f"process {pid} has no such socket")


@contextlib.contextmanager
def _target(chance: random.Random, folder: Path) -> Iterator[_Ends]:
    # Its lines are not kept: a million of them would fill the disk.
    with supervised(folder, options=("--log", "/dev/null")) as target:
        ends = _Ends(chance, target)
        with contextlib.closing(ends):
            yield ends


FUZZER = Fuzzer("log-channel", _target, batch=2000, few=10_000)
