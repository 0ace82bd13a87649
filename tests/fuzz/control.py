"""The control socket: calls that are no calls, in parts, by clients that do not wait or do not end.

None of it is a valid call that would change what runs.
"""

from __future__ import annotations

import contextlib
import json
import socket
from typing import TYPE_CHECKING

from sockact.supervisor.control.varlink import INTERFACE
from tests.fuzz import mutation
from tests.fuzz.harness import Fuzzer, Vitals
from tests.fuzz.supervised import Supervised, supervised

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

HARMLESS = ("Status", "History", "Reset")
OTHERS = (
    *("Reload", "Stop", "Rollback", "Rotate", "Upgrade"),
    *("SetShare", "Promote", "Pause", "Resume"),
)
FLAGS = (
    *("wait_drained", "force", "exec_reload", "now", "x", ""),
    *("canary", "canary_by", "canary_timeout", "unsure", "judge", "share", "max"),
)
WRONG: tuple[object, ...] = (1, "a", [], {}, 1.5)
SERVICES = ("org.varlink.service.GetInfo", "org.varlink.service.GetInterfaceDescription")
METHODS = (*(f"{INTERFACE}.{name}" for name in HARMLESS), *SERVICES, f"{INTERFACE}.", "a.b", ".")
LONG = (b"[" * 60_000, b'{"method":"' + b"a." * 30_000 + b'"}', b"9" * 60_000, b"x" * 70_000)
DEEP = (
    b'{"method":"org.sockact.Service.Status","parameters":' + b'{"a":' * 5000 + b"}" * 5000 + b"}"
)
MOST_HELD = 40


class _Client:
    def __init__(self, chance: random.Random, target: Supervised) -> None:
        self._chance = chance
        self._target = target
        self._held: list[socket.socket] = []

    def send(self, count: int) -> None:
        """Send so many messages, over some connections."""
        while count > 0:
            some = min(count, self._chance.randrange(1, 8))
            count -= some
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(30.0)
            with contextlib.suppress(ConnectionError, BlockingIOError):
                sock.connect(str(self._target.control))
                self._talk(sock, some)
            if self._chance.randrange(50) == 0:
                self._held.append(sock)
            else:
                sock.close()
            if len(self._held) >= MOST_HELD:
                self.release()

    def _talk(self, sock: socket.socket, count: int) -> None:
        for _ in range(count):
            data = self._message()
            if self._chance.randrange(10) == 0:
                for number in range(min(len(data), 20)):
                    sock.sendall(data[number : number + 1])
                data = data[20:]
            # Some are never ended, and become one with the next.
            sock.sendall(data + b"\0" * self._chance.choice((0, 1, 1, 1, 1, 1, 2, 5)))
        if self._chance.randrange(4) == 0:
            sock.shutdown(socket.SHUT_WR)
        # Half of the clients read something; the others leave their answers.
        if self._chance.randrange(2):
            sock.settimeout(0.0005)
            with contextlib.suppress(TimeoutError):
                sock.recv(1 << 16)

    def _message(self) -> bytes:
        chance = self._chance
        if not chance.randrange(40):
            return chance.choice((*LONG, DEEP))
        call = {"method": chance.choice(METHODS), "parameters": {}, "more": False}
        match chance.randrange(6):
            case 0:
                return chance.randbytes(chance.randrange(1, 2000))
            case 1:
                return json.dumps(mutation.junk(chance)).encode()
            case 2:
                # Valid but for the parameters, which no method takes like that.
                wrong: dict[str, object] = {
                    chance.choice(FLAGS): chance.choice(WRONG),
                    "": 0,
                }
                method = f"{INTERFACE}.{chance.choice(OTHERS)}"
                return json.dumps({"method": method, "parameters": wrong}).encode()
            case 3:
                call[chance.choice(("more", "oneway", "upgrade", "parameters"))] = mutation.junk(
                    chance
                )
                return json.dumps(call).encode()
            case 4:
                return json.dumps(mutation.changed(chance, call)).encode()
        return mutation.garbled(chance, json.dumps(call).encode())

    def release(self) -> None:
        """Close the connections that are still open."""
        for sock in self._held:
            sock.close()
        self._held.clear()

    def look(self) -> float:
        """Ask honestly."""
        return self._target.look()

    def vitals(self) -> Vitals:
        """Those of the supervisor, without connections."""
        self.release()
        return self._target.vitals()


@contextlib.contextmanager
def _target(chance: random.Random, folder: Path) -> Iterator[_Client]:
    with supervised(folder) as target:
        client = _Client(chance, target)
        try:
            yield client
        finally:
            client.release()


FUZZER = Fuzzer("control", _target, batch=2000, few=6000)
