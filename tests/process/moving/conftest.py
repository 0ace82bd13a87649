"""A service whose connections move."""

from __future__ import annotations

import http.client
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.process.moving.visitors import REQUEST
from tests.support import wait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

ON = ("--move-connections", "on", "--quiet-after", "1min")
"""Quiet connections hold the drain, too."""
APP = """
import asyncio, os
async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(10 if scope["path"] == "/events" else 0):
        await send({"type": "http.response.body", "body": b"event", "more_body": True})
        await asyncio.sleep(0.1)
    body = str(os.getpid()).encode()
    await send({"type": "http.response.body", "body": body})
"""
UVICORN = (
    *(sys.executable, "-W", "ignore", "-m", "uvicorn", "--port=PORT"),
    *("--lifespan=off", "--log-level=warning", "app:app"),
)


class Scene:
    """A service, and its clients."""

    def __init__(self, start: StartService, folder: Path) -> None:
        self._start = start
        self._folder = folder
        self.port = wait.free_port()
        self.service: Service
        self._clients: list[socket.socket] = []

    def run(self, command: tuple[str, ...] = UVICORN, options: tuple[str, ...] = ()) -> None:
        """Start it, with the ASGI application `app` in the working directory."""
        (self._folder / "app.py").write_text(APP)
        self.service = self._start(
            [word.replace("PORT", str(self.port)) for word in command],
            listen=(f"127.0.0.1:{self.port}",),
            options=(*ON, *options, "--directory", str(self._folder)),
        )

    def connect(self) -> socket.socket:
        """A new client."""
        self._clients.append(socket.create_connection(("127.0.0.1", self.port), wait.TIMEOUT))
        return self._clients[-1]

    def visitor(self) -> tuple[socket.socket, int]:
        """A client that has an answer, and the process that has given it."""
        client = self.connect()
        return client, process(client)

    def reload(self) -> None:
        """Reload, and wait until all quiet connections of the predecessor are parked."""
        assert self.service.reload().code == 0
        wait.until(lambda: self.moving()["parked"] == len(self._clients), "them to be parked")

    def moving(self, number: int = 1) -> dict[str, Any]:
        """What is told of the connections of a generation."""
        every = self.service.status()["generations"]
        found = next((one["moving"] for one in every if one["number"] == number), None)
        return found or {"moved": 0, "parked": 0, "returned": 0, "to": 0, "reason": ""}

    def close(self) -> None:
        for client in self._clients:
            client.close()


@pytest.fixture
def scene(start: StartService, folder: Path) -> Iterator[Scene]:
    made = Scene(start, folder)
    yield made
    made.close()


def process(client: socket.socket, path: str = "/") -> int:
    """Ask, and return the process that has answered."""
    client.sendall(REQUEST.replace(b"/ ", path.encode() + b" ", 1))
    response = http.client.HTTPResponse(client)
    response.begin()
    assert response.status == 200
    return int(response.read().replace(b"event", b""))
