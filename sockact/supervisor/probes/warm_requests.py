"""Ask for URLs until the answers are as fast as they get: exit status 0, else 1 and the reason.

    warm_requests.py SOCKETS URL FILE [SOCKETS URL FILE]...

SOCKETS are the descriptors to connect with for this URL, as in `5,6`: so many requests are sent at
once. If FILE is not empty, it has paths, one in a line, to ask for instead at the address of URL.
Standard input is a SOCK_SEQPACKET socket, which is told after each round what has been done. This
program ends when its other end is closed. Runs as a program of its own (python -I -S), like every
probe, because it has to wait.

connect(2): a socket that is connected to an address of the family AF_UNSPEC is disconnected, and
may be connected again.
"""

from __future__ import annotations

import contextlib
import ctypes
import http.client
import os
import queue
import socket
import sys
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    # The sockets for a URL, the URL, and how long its slowest answer took.
    Sockets = queue.SimpleQueue[socket.socket]
    Job = tuple[Sockets, str]
    Times = dict[str, float]

FLAT_ROUNDS = 3
"""Number of consecutive rounds that have to be flat."""
MOST_ROUNDS = 100
RATIO = 1.2
NOISE = 0.01
"""Seconds."""
REST = 0.01
"""Share of the slowest round: on a busy machine, response times differ by more than NOISE."""
_PAUSE = 0.25
"""Seconds from the start of a round to the start of the next, at least: a worker process that
starts later than the others is warmed up, too.
"""
_LARGEST_FILE = 1 << 16
_LARGEST_BODY = 16 << 20
_CHUNK = 1 << 16
_CLOSES_WITHIN = 1.0
_UNSPEC = bytes(16)
_LIBC = ctypes.CDLL(None, use_errno=True)


class Flatness:
    """Whether answers are as fast as they get: in each of the last three rounds, the slowest answer
    for each URL took at most 1.2 times as long as that of its best round, or longer by 10 ms or 1 %
    of its slowest round.
    """

    def __init__(self) -> None:
        self._best: Times = {}
        self._worst: Times = {}
        self._last: deque[Times] = deque(maxlen=FLAT_ROUNDS)

    def add(self, slowest: Times) -> bool:
        """Add a round, and return whether that is so."""
        for url, seconds in slowest.items():
            self._best[url] = min(seconds, self._best.get(url, seconds))
            self._worst[url] = max(seconds, self._worst.get(url, seconds))
        self._last.append(slowest)
        return len(self._last) == FLAT_ROUNDS and all(
            seconds <= self._limit(url) for times in self._last for url, seconds in times.items()
        )

    def _limit(self, url: str) -> float:
        best = self._best[url]
        return max(RATIO * best, best + max(NOISE, REST * self._worst[url]))


class Tally:
    """What has been done, for the operator."""

    def __init__(self) -> None:
        self._requests = self._failed = 0
        self._failure = ""
        self._first: float | None = None
        self._last = 0.0

    def add(self, answers: list[tuple[str, float, str]]) -> None:
        """Add the answers of a round: URL, seconds, and what is wrong."""
        self._requests += len(answers)
        self._last = max(seconds for _, seconds, _ in answers)
        if self._first is None:
            self._first = self._last
        for url, _, wrong in answers:
            if wrong:
                self._failed += 1
                self._failure = f"{wrong} for {url}"

    def __str__(self) -> str:
        failed = f" ({self._failed} failed: {self._failure})" if self._failed else ""
        times = f"{_span(self._first or 0.0)} -> {_span(self._last)}"
        return f"{self._requests} requests, {times}{failed}"


def _span(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


class Connection(http.client.HTTPConnection):
    """Connects with a socket that is used again."""

    def __init__(self, own: socket.socket, url: str) -> None:
        parts = urlsplit(url)
        super().__init__(parts.hostname or "", parts.port)
        self._own = own
        path = parts.path or "/"
        self.path = f"{path}?{parts.query}" if parts.query else path

    def connect(self) -> None:
        """Raises OSError."""
        self.sock = self._own.dup()
        found = socket.getaddrinfo(self.host, self.port, self.sock.family, self.sock.type)
        self.sock.connect(found[0][4])


def ask(job: Job) -> tuple[str, float, str]:
    """Send a request; return its URL, its duration, and what is wrong with the answer."""
    sockets, url = job
    sock = sockets.get()
    began = time.monotonic()
    try:
        wrong = _get(sock, url)
    except OSError as error:
        wrong = f"no response ({error.strerror or error})"
    except (http.client.HTTPException, ValueError):
        wrong = "the response is not HTTP"
    seconds = time.monotonic() - began
    _disconnect(sock)
    sockets.put(sock)
    return url, seconds, wrong


def _get(sock: socket.socket, url: str) -> str:
    with contextlib.closing(Connection(sock, url)) as connection:
        connection.request("GET", connection.path, headers={"Connection": "close"})
        response = connection.getresponse()
        left = _LARGEST_BODY
        while left > 0 and (data := response.read(_CHUNK)):
            left -= len(data)
        response.close()
    return "" if response.status < 400 else f"status {response.status}"


def _disconnect(sock: socket.socket) -> None:
    """End the connection: first ours, so that the server sees no reset if it ends its own soon."""
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(_CLOSES_WITHIN)
        if sock.recv(_CHUNK):
            sock.recv(_CHUNK)
    sock.settimeout(None)
    _LIBC.connect(sock.fileno(), _UNSPEC, len(_UNSPEC))


def jobs(words: tuple[str, ...]) -> Iterator[Job]:
    """The requests of one round. Raises OSError and ValueError."""
    known: dict[str, tuple[Sockets, int]] = {}
    for numbers, url, file in zip(words[::3], words[1::3], words[2::3], strict=True):
        if numbers not in known:
            sockets: Sockets = queue.SimpleQueue()
            for number in numbers.split(","):
                sockets.put(socket.socket(fileno=int(number)))
            known[numbers] = sockets, sockets.qsize()
        sockets, count = known[numbers]
        for one in [url + path for path in paths(file)] if file else [url]:
            # One after the other, so that all processes get each.
            yield from [(sockets, one)] * count


def paths(file: str) -> list[str]:
    """The paths in a file: the lines that begin with a slash. Raises OSError and ValueError."""
    with open(file, errors="replace") as lines:
        found = [line.strip() for line in lines.read(_LARGEST_FILE).splitlines()]
    found = [line for line in found if line.startswith("/")]
    if not found:
        raise ValueError(f"{file} has no line with a path")
    return found


def warm_up(words: tuple[str, ...], channel: socket.socket) -> str:
    """Send requests until the answers are flat; return why they are not, or "".

    Raises OSError and ValueError.
    """
    wanted, tally, flatness = [*jobs(words)], Tally(), Flatness()
    with ThreadPoolExecutor(sum(len(numbers.split(",")) for numbers in {*words[::3]})) as pool:
        for _ in range(MOST_ROUNDS):
            until = time.monotonic() + _PAUSE
            answers = [*pool.map(ask, wanted)]
            tally.add(answers)
            channel.send(str(tally).encode(errors="replace"))
            slowest: Times = {}
            for url, seconds, _ in answers:
                slowest[url] = max(seconds, slowest.get(url, 0.0))
            if flatness.add(slowest):
                return ""
            time.sleep(max(0.0, until - time.monotonic()))
    return f"response times did not settle in {MOST_ROUNDS} rounds"


def main(*words: str) -> None:
    """Warm up, and end the process, requests under way included."""
    channel = socket.socket(fileno=sys.stdin.fileno())

    def run() -> None:
        try:
            reason = warm_up(words, channel)
        except (OSError, ValueError) as error:
            reason = str(error)
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), reason.encode(errors="replace"))
        os._exit(bool(reason))

    threading.Thread(target=run, daemon=True).start()
    channel.recv(1)  # Nothing is sent: the supervisor has gone, or is another version now.
    os._exit(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
