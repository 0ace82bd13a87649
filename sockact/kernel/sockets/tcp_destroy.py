"""Messages about destroyed TCP sockets: the SKNLGRP_*_TCP_DESTROY groups of NETLINK_SOCK_DIAG.

Linux 4.2; sock_diag(7). Needs no privileges. While a group has members, the kernel sends a message
for each TCP socket that it destroys in the network namespace. A socket
filter passes only the message of one socket. A socket in TIME_WAIT counts as destroyed; one whose
last bytes are not acknowledged does not.
"""

from __future__ import annotations

import socket
import struct

from sockact.kernel import bpf

_NETLINK_SOCK_DIAG = 4
_INET_TCP_DESTROY, _INET6_TCP_DESTROY = 1, 3

# After struct nlmsghdr, family, state, timer, retrans, at the end of struct inet_diag_sockid.
_COOKIE_AT = 16 + 4 + 40
_MOST_HEARD = 100


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
            bpf.attach_filter(self._socket, bpf.Program((bpf.RETURN, 0, 0, 0)))
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
        program = bpf.Program(
            (bpf.LOAD_WORD, 0, 0, _COOKIE_AT),
            (bpf.JUMP_IF_EQUAL, 0, 3, first),
            (bpf.LOAD_WORD, 0, 0, _COOKIE_AT + 4),
            (bpf.JUMP_IF_EQUAL, 0, 1, second),
            (bpf.RETURN, 0, 0, bpf.EVERYTHING),
            (bpf.RETURN, 0, 0, 0),
        )
        bpf.attach_filter(self._socket, program)

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
