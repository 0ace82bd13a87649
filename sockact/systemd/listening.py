"""Whether somebody listens on an address of this network namespace: proc_pid_net(5)."""

from __future__ import annotations

import socket
import struct

from sockact.core.matching import Address, Family, Kind

_LISTEN = "0A"
_ACCEPTS = 0x10000
"""In the flags of a Unix socket (__SO_ACCEPTCON of linux/net.h)."""


def held(address: Address) -> bool:
    """True also where the tables cannot be read."""
    try:
        if address.family is Family.UNIX:
            return _unix(address.host)
        return _inet(address)
    except OSError:
        return True


def _unix(path: str) -> bool:
    with open("/proc/net/unix", errors="surrogateescape") as table:
        next(table)
        for line in table:
            fields = line.rstrip("\n").split(None, 7)
            if len(fields) > 7 and int(fields[3], 16) & _ACCEPTS and fields[7] == path:
                return True
    return False


def _inet(address: Address) -> bool:
    family = socket.AF_INET6 if address.family is Family.INET6 else socket.AF_INET
    raw = socket.inet_pton(family, address.host.partition("%")[0])
    # Each word of 32 bits is printed as a number of the machine's byte order.
    words = struct.unpack(f"={len(raw) // 4}I", raw)
    wanted = "".join(f"{word:08X}" for word in words) + f":{address.port:04X}"
    kind = "tcp" if address.kind is Kind.STREAM else "udp"
    name = f"/proc/net/{kind}{'6' if family == socket.AF_INET6 else ''}"
    with open(name) as table:
        next(table)
        for line in table:
            fields = line.split(None, 4)
            if fields[1] == wanted and (address.kind is Kind.DATAGRAM or fields[3] == _LISTEN):
                return True
    return False
