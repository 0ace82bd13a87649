"""GET a URL once: exit status 0 when the answer is as wanted, else 1 and a line that says why not.

    http_probe.py URL [SECONDS LOW HIGH BODY]

Nothing of it may take longer than SECONDS (5), its status has to be LOW to HIGH (200 to 399), and
BODY has to be in its body. Run as a program of its own (python -I -S), so that the supervisor
neither waits for the answer nor carries an HTTP client.
"""

from __future__ import annotations

import http.client
import signal
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
    # A body that nobody asked for may never end.
    if body and body.encode(errors="surrogateescape") not in answer.read(_LONGEST_BODY):
        return f"the answer is without {body!r}"
    return ""


def _too_late(_number: int, _frame: object) -> None:
    raise TimeoutError


def main(url: str, seconds: str = "5", low: str = "200", high: str = "399", body: str = "") -> str:
    """What is wrong, for whoever reads the log."""
    # Each read may take SECONDS, and an answer that comes in drops is many reads.
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, float(seconds))
    try:
        return probe(url, float(seconds), int(low), int(high), body)
    except TimeoutError:
        return f"took more than {float(seconds):g} s"
    except OSError as error:
        return f"found nobody who answers ({error.strerror or error})"
    except (http.client.HTTPException, ValueError):
        return "got an answer that is not HTTP"


if __name__ == "__main__":
    if reason := main(*sys.argv[1:]):
        sys.stdout.write(reason)
        sys.exit(1)
