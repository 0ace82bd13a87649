"""The exporter's HTTP server: it asks the supervisors when it is asked.

One thread for each client, a bounded number of them: one more takes the place of the oldest, so
that nobody can keep Prometheus out by being slow. Requests within a second share an answer.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector, CollectorRegistry

from sockact.cli.calls import service
from sockact.cli.exporter import metrics
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import printable
from sockact.supervisor.control import client

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client.core import Metric

    from sockact.cli.calls.service import Service
    from sockact.cli.exporter.metrics import Samples

SECONDS = 5.0
"""Time limit for all supervisors together. Prometheus gives up after 10 s by default."""
MOST_CLIENTS = 16
_AT_ONCE = 16
_MOST_THREADS = 2 * MOST_CLIENTS
"""The thread of a client that lost its place runs on until the supervisors have answered."""
_CLIENT_SECONDS = 5.0
_SHARED_SECONDS = 1.0
_PAUSE_SECONDS = 0.1
_PAGE = b"sockact exporter: the metrics are at /metrics\n"


class Supervisors(Collector):
    """Everything that the supervisors of this host answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, Samples] = {}
        self._asked_at = -_SHARED_SECONDS

    def collect(self) -> Iterator[Metric]:
        """Ask them, unless somebody has just done so."""
        with self._lock:
            if time.monotonic() >= self._asked_at + _SHARED_SECONDS:
                self._known = _ask_all()
                self._asked_at = time.monotonic()
            known = self._known
        return metrics.families(known)


def _ask_all() -> dict[str, Samples]:
    due = time.monotonic() + SECONDS
    services = service.found()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = pool.map(lambda one: _ask(one, due), services)
        return dict(zip((one.name for one in services), answers, strict=True))


def _ask(one: Service, due: float) -> Samples:
    def left() -> float:
        return max(0.0, due - time.monotonic())

    try:
        with one.connect(left()) as connection:
            status = connection.call("Status", timeout=left())["status"]
            try:
                history = connection.call("History", timeout=left())
            except client.RemoteError:
                history = None  # It runs an older version.
        return metrics.samples(status, history)
    except Failure as failure:
        _say(failure.message)
    except ValueError as error:
        _say(f"{one.name}: its answer cannot be read ({error})")
    return metrics.down()


class Server:
    """Serves on these listeners until the process ends."""

    def __init__(self, listeners: Sequence[socket.socket]) -> None:
        self._listeners = listeners
        self.registry = CollectorRegistry()
        self.registry.register(Supervisors())
        self._lock = threading.Lock()
        self._clients: dict[int, socket.socket] = {}
        self._threads = threading.Semaphore(_MOST_THREADS)

    def serve(self) -> None:
        """Does not return."""
        with selectors.DefaultSelector() as selector:
            for listener in self._listeners:
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ, listener)
            while True:
                for key, _ in selector.select():
                    self._accept(key.data)

    def _accept(self, listener: socket.socket) -> None:
        try:
            connection = listener.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            # The client stays in the queue: without a pause this would be tried without end.
            _say(f"a client cannot be accepted ({error.strerror}): trying again")
            time.sleep(_PAUSE_SECONDS)
            return
        with self._lock:
            if len(self._clients) >= MOST_CLIENTS:
                oldest = next(iter(self._clients))
                with contextlib.suppress(OSError):
                    self._clients.pop(oldest).shutdown(socket.SHUT_RDWR)
            self._clients[id(connection)] = connection
        # Further clients wait in the kernel's queue until a thread has ended.
        self._threads.acquire()
        threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        try:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(_CLIENT_SECONDS)
                _Handler(connection, ("", 0), self)  # type: ignore[arg-type]
        finally:
            with self._lock:
                self._clients.pop(id(connection), None)
            self._threads.release()


class _Handler(BaseHTTPRequestHandler):
    server: Server  # type: ignore[assignment]
    server_version = "sockact"
    sys_version = ""
    timeout = _CLIENT_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            try:
                self._answer(*self._metrics())
            except Failure as failure:
                _say(failure.message)
                self.send_error(503, "The supervisors cannot be found")
        elif path == "/":
            self._answer(_PAGE, "text/plain; charset=utf-8")
        else:
            self.send_error(404)

    def _metrics(self) -> tuple[bytes, str]:
        # prometheus_client's choose_encoder raises TypeError for `version=x`.
        if "application/openmetrics-text" in self.headers.get("Accept", ""):
            text: bytes = openmetrics.generate_latest(self.server.registry)  # type: ignore[no-untyped-call, unused-ignore]
            return text, openmetrics.CONTENT_TYPE_LATEST
        return generate_latest(self.server.registry), CONTENT_TYPE_LATEST

    def _answer(self, body: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: each scrape would be a line."""


def _say(message: str) -> None:
    with contextlib.suppress(OSError):
        sys.stderr.write(f"sockact: exporter: {printable(' '.join(message.split()))}\n")
        sys.stderr.flush()
