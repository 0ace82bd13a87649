"""Measures warm-ups: response times of the first seconds after a reload, with and without --warm.

The application takes 5 s for the first request of each worker, as one that imports its modules and
fills its caches then, and 10 ms for each other one.
"""

from __future__ import annotations

import os
import re
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.bare import temporary
from bench.load import Kind, Load, Plan
from bench.process import LoadProcess
from bench.trial import LONGEST, pause
from tests.support.service import Service
from tests.support.wait import free_port

if TYPE_CHECKING:
    from bench.tally import Quantiles

FIRST_USE = 5.0
APPLICATION = f"""
import asyncio, os, time
BODY = f"version {{os.environ['SOCKACT_GENERATION']}}\\n".encode()
warm = False

def first_use():
    global warm
    if not warm:
        time.sleep({FIRST_USE})
        warm = True

def wsgi(environ, start_response):
    first_use()
    time.sleep(0.01)
    start_response("200 OK", [("Content-Length", str(len(BODY)))])
    return [BODY]

async def asgi(scope, receive, send):
    if scope["type"] == "http":
        first_use()
        await asyncio.sleep(0.01)
        headers = [(b"content-length", str(len(BODY)).encode())]
        await send({{"type": "http.response.start", "status": 200, "headers": headers}})
        await send({{"type": "http.response.body", "body": BODY}})
"""
SERVERS = {
    "gunicorn sync, 2 workers": ("gunicorn", "--workers", "2", "--bind", "{}", "cold:wsgi"),
    "uvicorn": ("uvicorn", "--no-access-log", "--port", "{port}", "cold:asgi"),
    "uvicorn, 2 workers": (
        *("uvicorn", "--no-access-log", "--workers", "2", "--port", "{port}", "cold:asgi"),
    ),
}
LOADS = (Load(Kind.NEW, 4, pause=0.04),)
INTERVAL = 0.05  # between two requests of a client: the pause and the answer


@dataclass(frozen=True)
class Warmth:
    """One reload under load."""

    steady: Quantiles
    during: Quantiles
    """While the new generation starts and is warmed up."""
    after: Quantiles
    """In the first seconds after the reload."""
    seconds: float
    failures: int
    told: str

    @property
    def ratio(self) -> float:
        """p99 after the reload divided by p99 before it."""
        return self.after.p99 / self.steady.p99 if self.steady.p99 else 0.0


def measure(server: str, warm: bool, seconds: float) -> Warmth:
    """Reload a server, and compare so many seconds before and after it."""
    with temporary() as folder:
        port = free_port()
        address = f"127.0.0.1:{port}"
        (folder / "cold.py").write_text(APPLICATION)
        words = (word.format(address, port=port) for word in SERVERS[server])
        options = ("--lanes", "require", *(("--warm", f"http://{address}/") if warm else ()))
        with Service(
            [sys.executable, "-m", *words],
            folder=folder,
            listen=(address,),
            options=options,
            environment={**os.environ, "PYTHONPATH": str(folder)},
        ) as service:
            service.wait_ready()
            with LoadProcess(Plan(address, LOADS, LONGEST)) as load:
                load.wait_started()
                pause(2 * FIRST_USE)  # Each worker has had its first request.
                steady = time.monotonic()
                pause(seconds)
                outcome = service.reload()
                pause(seconds)
                report = load.stop()
            said = re.findall(r"(?:warmed up|not warm).*", service.stderr)
    assert outcome.code == 0, outcome.stderr
    total = report.total()
    reload = outcome.started, outcome.ended
    windows = ((steady, reload[0]), reload, (reload[1], reload[1] + seconds))
    before, during, after = (total.split([one], INTERVAL)[1] for one in windows)
    told = said[0] if said else ""
    return Warmth(before, during, after, outcome.seconds, report.failures(), told)
