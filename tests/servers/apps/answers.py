"""What the test applications answer, and how a client recognises that an answer is whole.

Applications and clients share this file, so that the bodies have one source. Standard library only:
it is imported by the wrapped programs.
"""

from __future__ import annotations

import importlib
import re

LINES = 50  # of a streamed answer, LINE_PAUSE seconds apart
LINE_PAUSE = 0.1
EVENTS = 3  # of an answer with pauses that the client chooses
SLOW_SECONDS = 2.0
LONG_SECONDS = 10.0
FOREVER = 86_400.0
BIG_LINES = 1 << 17  # 8 MiB: more than the kernel's buffers can take off the server at once
BIG_WIDTH = 64
UPLOAD_BYTES = 1 << 20

_VERSION = re.compile(rb"(?:data: )?version (\w+)")


def release() -> str:
    """The version on disk, by importing the release; call it once, when the program starts.

    Raises whatever a broken release raises.
    """
    return str(importlib.import_module("release").VERSION)


def fast(version: str) -> bytes:
    """The short answer; the slow one is the same, SLOW_SECONDS later, and so is the long one."""
    return f"version {version}\n".encode()


def line(version: str, number: int) -> bytes:
    """Line `number` of a streamed answer, counted from 1."""
    return f"version {version} line {number} of {LINES}\n".encode()


def stream(version: str) -> bytes:
    """The whole streamed answer."""
    return b"".join(line(version, number) for number in range(1, LINES + 1))


def event(version: str, number: int) -> bytes:
    """Server-sent event `number`, counted from 1."""
    return f"data: version {version} event {number} of {EVENTS}\n\n".encode()


def events(version: str) -> bytes:
    """All server-sent events."""
    return b"".join(event(version, number) for number in range(1, EVENTS + 1))


def big(version: str) -> bytes:
    """The answer that a client reads slowly."""
    return (fast(version).rstrip().ljust(BIG_WIDTH - 1) + b"\n") * BIG_LINES


def upload(version: str, length: int = UPLOAD_BYTES) -> bytes:
    """The answer to a request with a body: how many bytes of it came."""
    return f"version {version} received {length} bytes\n".encode()


_BODIES = {"fast": fast, "stream": stream, "big": big, "upload": upload, "events": events}


def check(body: str, data: bytes) -> str | None:
    """The version that the data names, or None when it is not exactly a `body` of that version."""
    match = _VERSION.match(data)
    if match is None:
        return None
    version = match[1].decode()
    return version if data == _BODIES[body](version) else None
