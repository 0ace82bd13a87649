"""GET a URL once: exit status 0 if the response is as expected, else 1 and a line with the reason.

    http_probe.py [--private] URL [SECONDS LOW HIGH BODY]

The response must arrive within SECONDS (5), have a status from LOW to HIGH (200 to 399) and contain
BODY. With --private, standard input is the socket to connect with. Runs as a program of its own
(python -I -S), so that the supervisor neither waits for the response nor loads an HTTP client.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
from urllib.parse import urlsplit

_LONGEST_BODY = 1 << 20
PRIVATE = "--private"
DEFAULTS = ("5", "200", "399", "")
"""Of SECONDS, LOW, HIGH and BODY."""


class Private(http.client.HTTPConnection):
    """Connects with the socket that is standard input."""

    def connect(self) -> None:
        """Raises OSError."""
        self.sock = socket.socket(fileno=os.dup(sys.stdin.fileno()))
        self.sock.settimeout(self.timeout)
        found = socket.getaddrinfo(self.host, self.port, self.sock.family, self.sock.type)
        self.sock.connect(found[0][4])


def probe(url: str, seconds: float, low: int, high: int, body: str, private: bool) -> str:
    """Return what is wrong with the response, or "". Raises OSError, HTTPException, ValueError."""
    parts = urlsplit(url)
    kind = Private if private else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=seconds)
    path = parts.path or "/"
    connection.request("GET", f"{path}?{parts.query}" if parts.query else path)
    response = connection.getresponse()
    if not low <= response.status <= high:
        wanted = f"{low} to {high}" if low != high else str(low)
        return f"got status {response.status} instead of {wanted}"
    # Read a body only on request: it may never end.
    if body and body.encode(errors="surrogateescape") not in response.read(_LONGEST_BODY):
        return f"the response body does not contain {body!r}"
    return ""


def _too_late(_number: int, _frame: object) -> None:
    raise TimeoutError


def main(*arguments: str) -> str:
    """Return what is wrong, for the operator, or ""."""
    private = arguments[0] == PRIVATE
    url, *given = arguments[private:]
    seconds, low, high, body = (*given, *DEFAULTS[len(given) :])
    # The timeout of the connection is that of each read, and a slow response takes many reads.
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, float(seconds))
    try:
        return probe(url, float(seconds), int(low), int(high), body, private)
    except TimeoutError:
        return f"took more than {float(seconds):g} s"
    except OSError as error:
        return f"no response ({error.strerror or error})"
    except (http.client.HTTPException, ValueError):
        return "the response is not HTTP"


if __name__ == "__main__":
    if reason := main(*sys.argv[1:]):
        sys.stdout.write(reason)
        sys.exit(1)
