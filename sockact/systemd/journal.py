"""The journal's native protocol: a message with fields, in one datagram.

See systemd-journald.service(8). A field is a line FIELD=value; a value that contains a newline is
written as FIELD, a newline, its length as 64 bits little-endian, and the value. sd_journal_send(3)
waits if journald does not read; this module never waits.
"""

from __future__ import annotations

import os
import socket
import struct

from sockact.core.message_kinds import News

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MESSAGE_IDS = {
    News.SERVES: "4c8e4beea28c4671901be44900f8f750",
    News.SERVES_AGAIN: "7e2dba2b9aef4f439ed76957dc5c8456",
    News.RELOAD_FAILED: "79528a6a808d469997a49af065560f37",
    News.ROLLBACK_FAILED: "8be85c70e14248159774d803873a94f9",
    News.FAILED: "67ccb71ab8c34fe8a666459730cdeb6a",
    News.ENDED: "fd6b86f41ab149ea976f8b8efefaeb63",
    News.DRAINED: "1c4c9100a4dd430486114af9d24b1c30",
    News.SIGNALLED: "6b8617605c2d4d2fb1ec7d6616f0a04e",
    News.GATE: "dce124f040bb4027beb78241b32b29df",
    News.STUCK: "a4c816409f314487b49eef72885ab8e0",
    News.ADAPTER: "938e94602f8744298a0585dd31e357d4",
    News.UPGRADED: "f48dd0435f494fc298360b58b442db1d",
    News.UPGRADE_FAILED: "4aeb7e95b2c742afa995eb8a0b748bd3",
    News.LOG: "29495df4c3514e4594cbaf75902245c0",
    News.HOOK: "17d17134d1564e95bb62f9386bc53324",
    News.LISTENER: "c6c1f50fc8af4d08ab3d4b223950cadd",
    News.WARM: "d95c966dfd6745898a1d164f6d8c7f23",
    News.CANARY: "c02cf1691b994038afc0047f24806c13",
    News.MOVED: "ed25827309704692a87f96687323838b",
    News.PAUSE: "5f9433ef0bc24092a968e1a287c26466",
}
"""MESSAGE_ID= of each kind of message: sd-id128(3), `systemd-id128 new`. They never change."""

_SOCKET = "/run/systemd/journal/socket"
_LONGEST = 8192
_LENGTH = struct.Struct("<Q")


def is_journal(fd: int, environ: Mapping[str, str]) -> bool:
    """Whether fd is the stream that $JOURNAL_STREAM names: systemd.exec(5)."""
    try:
        found = os.fstat(fd)
    except OSError:
        return False
    return environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


class Journal:
    """A connection to journald. Raises OSError if there is no journald."""

    def __init__(self, path: str = _SOCKET) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def send(self, fields: Mapping[str, str]) -> bool:
        """Send a message; False if journald, or its queue, did not take it."""
        try:
            self._socket.send(b"".join(encode(name, text) for name, text in fields.items()))
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


def encode(name: str, text: str) -> bytes:
    """One field; its value is cut at 8 KiB."""
    value = text.encode("utf-8", "backslashreplace")[:_LONGEST]
    if b"\n" in value:
        return name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
