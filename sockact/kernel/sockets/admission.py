"""Admission: whether a listener lets new connections begin. socket(7), SO_ATTACH_FILTER.

A classic BPF program drops the first packet of each new connection (SYN), so TCP clients wait and
try again. Functions raise OSError.
"""

from __future__ import annotations

from sockact.kernel import bpf

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket

_FLAGS_AT = 13
_SYN, _ACK = 0x02, 0x10
_FIRST_PACKETS_DROPPED = bpf.Program(
    (bpf.LOAD_BYTE, 0, 0, _FLAGS_AT),
    (bpf.AND, 0, 0, _SYN | _ACK),
    (bpf.JUMP_IF_EQUAL, 0, 1, _SYN),
    (bpf.RETURN, 0, 0, 0),
    (bpf.RETURN, 0, 0, bpf.EVERYTHING),
)


def admit_no_more(listener: socket.socket) -> None:
    """Drop the first packet of each new connection, which the client sends again after 1 s.

    Handshakes that have begun continue.
    """
    bpf.attach_filter(listener, _FIRST_PACKETS_DROPPED)


def admits_no_more(listener: socket.socket) -> bool:
    """Whether `admit_no_more` is in effect."""
    return bpf.read_filter(listener) == bytes(_FIRST_PACKETS_DROPPED)


def admit_again(listener: socket.socket) -> None:
    """Undo `admit_no_more`."""
    bpf.detach_filter(listener)
