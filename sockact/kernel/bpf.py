"""Classic BPF programs, and those that filter a socket's packets: linux/filter.h, socket(7).

SO_ATTACH_FILTER (Linux 2.2), SO_GET_FILTER (Linux 3.8). Functions raise OSError.
"""

from __future__ import annotations

import ctypes
import errno
import socket
import struct

from sockact.kernel.libc import call

# Load the 32-bit word, the 16 bits or the byte at the operand, or the operand itself.
LOAD_WORD, LOAD_HALF, LOAD_BYTE, LOAD_CONSTANT = 0x20, 0x28, 0x30, 0x00
# With the operand; XOR_X with register X, which TO_X sets.
AND, MULTIPLY, MODULO, SHIFT_RIGHT, XOR_X, TO_X = 0x54, 0x24, 0x94, 0x74, 0xAC, 0x07
JUMP, JUMP_IF_EQUAL, JUMP_IF_AT_LEAST, RETURN = 0x05, 0x15, 0x35, 0x06
EVERYTHING = 0xFFFFFFFF
"""What a socket filter returns for a packet that it passes, and 0 for one that it drops."""

Instruction = tuple[int, int, int, int]
"""struct sock_filter: code, instructions to skip if true, and if false, operand."""

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_SO_GET_FILTER = _SO_ATTACH_FILTER
_SOCK_FILTER = struct.Struct("=HBBI")
# struct sock_fprog: unsigned short len, then the pointer at its natural alignment.
_SOCK_FPROG = struct.Struct("@HP")


class Program:
    """A program in memory, as long as the object exists."""

    def __init__(self, *instructions: Instruction) -> None:
        code = b"".join(_SOCK_FILTER.pack(*one) for one in instructions)
        self._code = ctypes.create_string_buffer(code, len(code))
        self.fprog = _SOCK_FPROG.pack(len(instructions), ctypes.addressof(self._code))
        """Its struct sock_fprog."""

    def __bytes__(self) -> bytes:
        return self._code.raw


def attach_filter(sock: socket.socket, program: Program) -> None:
    """Let the program decide on each packet of the socket, instead of an earlier one."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program.fprog)


def detach_filter(sock: socket.socket) -> None:
    """Remove the filter. Raises OSError: ENOENT if there is none, EPERM if it was locked."""
    sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)


def read_filter(sock: socket.socket) -> bytes | None:
    """The instructions of the filter, b"" if there is none; None if it is eBPF."""
    # The length is a number of instructions; 0 asks for it. socket.getsockopt() has no such call.
    count = ctypes.c_uint32(0)
    try:
        _get_filter(sock, None, count)
        code = ctypes.create_string_buffer(count.value * _SOCK_FILTER.size)
        if count.value:
            _get_filter(sock, code, count)
    except OSError as error:
        if error.errno == errno.EACCES:
            return None
        raise
    return code.raw


def _get_filter(sock: socket.socket, code: object, count: ctypes.c_uint32) -> None:
    option = (sock.fileno(), socket.SOL_SOCKET, _SO_GET_FILTER)
    call("getsockopt", *option, code, ctypes.byref(count))
