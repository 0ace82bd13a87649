"""What a client has sent on a quiet connection: the beginning of a request, or something else."""

from __future__ import annotations

_VERSIONS = (b"HTTP/1.1", b"HTTP/1.0")
LONGEST = 8192
"""Bytes of a request line that servers accept, by default."""


def begins_request(data: bytes) -> bool:
    """Whether this begins with a whole request line of HTTP/1.x (RFC 9112, section 3).

    TLS records, frames of HTTP/2 and WebSockets, and its preface "PRI * HTTP/2.0", do not. Nor does
    the rest of a body, unless somebody has made it look like a request.
    """
    line, end, _rest = data[:LONGEST].partition(b"\n")
    words = line.removesuffix(b"\r").split(b" ")
    if not end or len(words) != 3 or not words[1]:
        return False
    method = words[0].replace(b"-", b"")
    return method.isalpha() and method.isupper() and words[2] in _VERSIONS
