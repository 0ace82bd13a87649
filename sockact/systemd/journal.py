"""The journal's native protocol: a message with fields, in one datagram.

systemd-journald.service(8) and its page on the native protocol: FIELD=value lines, and for a value
with a newline FIELD, a newline, its length as 64 bits little-endian, the value. sd_journal_send(3)
does the same, but waits when journald does not read; here nothing waits.
"""

from __future__ import annotations

import os
import socket
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_SOCKET = "/run/systemd/journal/socket"
_LONGEST = 8192
_LENGTH = struct.Struct("<Q")


def is_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Is fd the stream that $JOURNAL_STREAM of systemd.exec(5) describes?"""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Journal:
    """A way into the journal. Raises OSError where there is none."""

    def __init__(self, path: str = _SOCKET) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def send(self, fields: Mapping[str, str]) -> bool:
        """Whether journald, or its queue, has taken it."""
        try:
            self._socket.send(b"".join(encode(name, text) for name, text in fields.items()))
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


def encode(name: str, text: str) -> bytes:
    """One field. What is longer than 8 KiB is cut."""
    value = text.encode("utf-8", "backslashreplace")[:_LONGEST]
    if b"\n" in value:
        return name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
