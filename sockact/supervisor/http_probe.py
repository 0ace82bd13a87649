"""GET a URL once: exit status 0 when the answer's status is 200 to 399, 3 when there was no answer,
4 when it had another status, 5 when it was not HTTP.

Run as a program of its own (python -I -S), so that the supervisor neither waits for the answer nor
carries an HTTP client.
"""

from __future__ import annotations

import http.client
import sys
from urllib.parse import urlsplit

_TIMEOUT = 5.0


def probe(url: str) -> bool:
    """Does `url` answer well? Raises OSError or HTTPException."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT)
    path = parts.path or "/"
    connection.request("GET", f"{path}?{parts.query}" if parts.query else path)
    return 200 <= connection.getresponse().status < 400


if __name__ == "__main__":
    try:
        sys.exit(0 if probe(sys.argv[1]) else 4)
    except OSError:
        sys.exit(3)
    except (http.client.HTTPException, ValueError):
        sys.exit(5)
