"""The addresses of a connection, as struct sockaddr: getpeername(2), getsockname(2)."""

from __future__ import annotations

import ctypes

from sockact.kernel import libc

LONGEST = 128
"""Bytes: struct sockaddr_storage."""


def peer(fd: int) -> bytes:
    """The address of its client; b"" if it is not connected."""
    return _address("getpeername", fd)


def local(fd: int) -> bytes:
    """Its own address; b"" if it has none."""
    return _address("getsockname", fd)


def _address(call: str, fd: int) -> bytes:
    data = ctypes.create_string_buffer(LONGEST)
    length = ctypes.c_uint32(len(data))
    try:
        libc.call(call, fd, data, ctypes.byref(length))
    except OSError:
        return b""
    return data.raw[: length.value]
