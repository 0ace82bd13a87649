"""Real canaries of worse releases: how many requests a release has had when it is refused.

The server is uvicorn, which counts its requests for sockact (docs/shim.md). Each request has a
connection of its own. The releases wait for a time whose logarithm is normal, as services do that
ask a database.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.bare import temporary
from tests.support.service import Service
from tests.support.wait import free_port

if TYPE_CHECKING:
    from pathlib import Path

REQUESTS = 20_000
CANARY = "10% 10min"
CLIENTS = 16
RATE = 200
"""Requests per second. Slowness is told by its rounds of at least a second, not by its requests
(docs/canary-statistics.md), so a service that is busier has had more of them by then.
"""
MOST = 300.0
"""Seconds."""
APP = """
import asyncio, random
VERSION, FAILS, SLOWER = {version!r}, {fails}, {slower}

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await asyncio.sleep(0.01 * SLOWER * random.lognormvariate(0, 0.3))
    status = 500 if random.random() < FAILS else 200
    headers = [(b"connection", b"close"), (b"content-length", b"1")]
    await send({{"type": "http.response.start", "status": status, "headers": headers}})
    await send({{"type": "http.response.body", "body": VERSION.encode()}})
"""
REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclass(frozen=True)
class Release:
    """A release, and what is wrong with it."""

    name: str
    fails: float = 0.0
    """Share of its requests that it answers with status 500."""
    slower: float = 1.0
    """How many times as long it takes as the previous release."""

    def publish(self, folder: Path, version: str) -> None:
        """Write it as the release that is started next."""
        text = APP.format(version=version, fails=self.fails, slower=self.slower)
        (folder / "app.py").write_text(text)


GOOD = Release("the same")
WORSE = (Release("fails 2 %", fails=0.02), Release("30 % slower", slower=1.3))


@dataclass
class Refusal:
    """How a canary went."""

    release: str
    requests: int = 0
    """Of all clients, from the begin of the reload to its end."""
    seen: int = 0
    """Those that the canary answered."""
    failed: int = 0
    """Those that got no answer at all."""
    seconds: float = 0.0
    said: str = ""


def measure(release: Release, requests: int = REQUESTS) -> Refusal:
    """Run one canary until it is refused, or clients have made so many requests."""
    with temporary() as folder:
        port = free_port()
        GOOD.publish(folder, "1")
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(folder), "--port", str(port)]
        command += ["--log-level", "warning", "app:app"]
        address = f"127.0.0.1:{port}"
        with Service(
            command, folder=folder, listen=[address], options=("--lanes", "require")
        ) as service:
            service.wait_ready()
            release.publish(folder, "2")
            return asyncio.run(_run(service, release.name, port, requests))


async def _run(service: Service, name: str, port: int, requests: int) -> Refusal:
    found = Refusal(name)
    over = asyncio.Event()

    began = time.monotonic()

    async def client() -> None:
        while not over.is_set() and found.requests < requests:
            found.requests += 1
            await asyncio.sleep(began + found.requests / RATE - time.monotonic())
            version = await _ask(port)
            found.seen += version == "2"
            found.failed += not version

    clients = [asyncio.create_task(client()) for _ in range(CLIENTS)]
    reload = asyncio.create_task(
        asyncio.to_thread(service.reload, "--canary", CANARY, "--timeout", f"{MOST:g}s")
    )
    await asyncio.wait([reload, *clients], return_when=asyncio.FIRST_COMPLETED)
    if not reload.done():
        # The requests are used up: it was not refused.
        await asyncio.to_thread(service.run, "promote", "test")
    outcome = await reload
    found.seconds = time.monotonic() - began
    over.set()
    await asyncio.gather(*clients)
    found.said = (outcome.stderr or outcome.stdout).strip()
    return found


async def _ask(port: int) -> str:
    """The version that answers; "" without an answer."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(REQUEST)
            data = await reader.read()
        finally:
            writer.close()
    except OSError:
        return ""
    return data.rpartition(b"\r\n\r\n")[2].decode()
