"""GET a URL once: exit status 0 when the answer is as wanted, else 1 and a line that says why not.

    http_probe.py URL [SECONDS LOW HIGH BODY]

Nothing of it may take longer than SECONDS (5), its status has to be LOW to HIGH (200 to 399), and
BODY has to be in its body. Run as a program of its own (python -I -S), so that the supervisor
neither waits for the answer nor carries an HTTP client.
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

_LONGEST_BODY = 1 << 20


def probe(url: str, seconds: float, low: int, high: int, body: str) -> str:
    """Empty, or what is wrong with the answer. Raises OSError, HTTPException or ValueError."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    path = parts.path or "/"
    connection.request("GET", f"{path}?{parts.query}" if parts.query else path)
    answer = connection.getresponse()
    if not low <= answer.status <= high:
        wanted = f"{low} to {high}" if low != high else str(low)
        return f"got status {answer.status} instead of {wanted}"
    if body.encode() not in answer.read(_LONGEST_BODY):
        return f"{body!r} is not in the answer"
    return ""


def main(url: str, seconds: str = "5", low: str = "200", high: str = "399", body: str = "") -> str:
    """What is wrong, for whoever reads the log."""
    try:
        return probe(url, float(seconds), int(low), int(high), body)
    except OSError as error:
        return f"found nobody who answers ({error.strerror or error})"
    except (http.client.HTTPException, ValueError):
        return "got an answer that is not HTTP"


if __name__ == "__main__":
    if reason := main(*sys.argv[1:]):
        sys.stdout.write(reason)
        sys.exit(1)
