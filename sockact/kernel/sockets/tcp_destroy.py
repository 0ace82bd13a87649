"""Messages about destroyed TCP sockets: the SKNLGRP_*_TCP_DESTROY groups of NETLINK_SOCK_DIAG.

Linux 4.2; sock_diag(7). Needs no privileges. While a group has members, the kernel sends a message
for each TCP socket that it destroys in the network namespace. A filter (SO_ATTACH_FILTER of
socket(7), classic BPF) passes only the message of one socket. A socket in TIME_WAIT counts as
destroyed; one whose last bytes are not acknowledged does not.
"""

from __future__ import annotations

import ctypes
import socket
import struct

_NETLINK_SOCK_DIAG = 4
_INET_TCP_DESTROY, _INET6_TCP_DESTROY = 1, 3
_SO_ATTACH_FILTER = 26

# After struct nlmsghdr, family, state, timer, retrans, at the end of struct inet_diag_sockid.
_COOKIE_AT = 16 + 4 + 40
# linux/filter.h: struct sock_filter (code, jt, jf, k) and struct sock_fprog (length, address).
_INSTRUCTION = struct.Struct("=HBBI")
_PROGRAM = struct.Struct("@HP")
_MOST_HEARD = 100
_LOAD_WORD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06


class Destroyed:
    """Readable when the socket that was last given to `wait_for` has been destroyed.

    Raises OSError if the groups cannot be joined.
    """

    def __init__(self, family: int) -> None:
        group = _INET6_TCP_DESTROY if family == socket.AF_INET6 else _INET_TCP_DESTROY
        kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_SOCK_DIAG)
        try:
            # Pass no message until `wait_for` is called.
            self._filter((_RETURN, 0, 0, 0))
            self._socket.bind((0, 1 << (group - 1)))
        except OSError:
            self._socket.close()
            raise

    def fileno(self) -> int:
        return self._socket.fileno()

    def wait_for(self, identity: bytes) -> None:
        """Pass only the message of the socket with this struct inet_diag_sockid.

        Look at the socket afterwards, in case it was destroyed before this call. Raises OSError.
        """
        # The filter reads words in network byte order.
        first, second = struct.unpack(">II", identity[-8:])
        self._filter(
            (_LOAD_WORD, 0, 0, _COOKIE_AT),
            (_JUMP_IF_EQUAL, 0, 3, first),
            (_LOAD_WORD, 0, 0, _COOKIE_AT + 4),
            (_JUMP_IF_EQUAL, 0, 1, second),
            (_RETURN, 0, 0, 0xFFFFFFFF),
            (_RETURN, 0, 0, 0),
        )

    def clear(self) -> None:
        """Read and drop the messages. Overflow does no harm: the socket was readable."""
        for _ in range(_MOST_HEARD):
            try:
                self._socket.recv(1 << 12)
            except BlockingIOError:
                return
            except OSError:
                continue  # ENOBUFS

    def close(self) -> None:
        self._socket.close()

    def _filter(self, *instructions: tuple[int, int, int, int]) -> None:
        code = b"".join(_INSTRUCTION.pack(*one) for one in instructions)
        kept = ctypes.create_string_buffer(code, len(code))
        program = _PROGRAM.pack(len(instructions), ctypes.addressof(kept))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
