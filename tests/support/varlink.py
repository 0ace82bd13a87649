"""The smallest Varlink client, to look at a control socket without sockact's own code."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

INTERFACE = "org.sockact.Service"


class VarlinkError(Exception):
    """The service answered with an error."""

    def __init__(self, name: str, parameters: dict[str, Any]) -> None:
        super().__init__(name, parameters)
        self.name = name
        self.parameters = parameters


def call(
    path: Path, method: str, parameters: dict[str, Any] | None = None, timeout: float = 60.0
) -> dict[str, Any]:
    """Call a method of the service's own interface; raises VarlinkError or OSError."""
    with begin(path, method, parameters, timeout) as sock:
        return finish(sock)


def begin(
    path: Path, method: str, parameters: dict[str, Any] | None = None, timeout: float = 60.0
) -> socket.socket:
    """Send a call, whose answer `finish` reads."""
    message = {"method": f"{INTERFACE}.{method}", "parameters": parameters or {}}
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(timeout)
        sock.connect(str(path))
        sock.sendall(json.dumps(message).encode() + b"\0")
    except OSError:
        sock.close()
        raise
    return sock


def finish(sock: socket.socket) -> dict[str, Any]:
    """The answer to the call; raises VarlinkError or OSError."""
    reply = json.loads(_packet(sock))
    if "error" in reply:
        raise VarlinkError(reply["error"], reply.get("parameters", {}))
    found: dict[str, Any] = reply.get("parameters", {})
    return found


def _packet(sock: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\0"):
        chunk = sock.recv(1 << 16)
        if not chunk:
            raise ConnectionError(f"closed in the middle of a reply: {data!r}")
        data += chunk
    return data[:-1]
