"""Connect to each address: exit status 0 if every connection is accepted, else 1 and the reason.

    tcp_probe.py [--private] SECONDS HOST PORT [HOST PORT …]

The kernel completes a connection without the program, so connecting proves nothing. But a
connection that has not been accepted has no inode: /proc/net/tcp shows 0 (proc_pid_net(5)). The
same is true for one that was accepted and closed, but that is in another state. Runs as a program
of its own (python -I -S), like every probe, because it has to wait. With --private, standard input
is the socket to connect with.
"""

from __future__ import annotations

import os
import socket
import sys
import time

PRIVATE = "--private"
_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.2
_QUEUED = ("01", "08")
"""ESTABLISHED, and CLOSE_WAIT (include/net/tcp_states.h)."""
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def main(*arguments: str) -> str:
    """Return what is wrong, for the operator, or ""."""
    private = arguments[0] == PRIVATE
    seconds, *addresses = arguments[private:]
    until = time.monotonic() + float(seconds)
    for host, port in zip(addresses[::2], addresses[1::2], strict=True):
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            address, left = (_ANY.get(host, host), int(port)), until - time.monotonic()
            with _connect(address, max(_FIRST_PAUSE, left), private) as sock:
                if not _accepted(sock, until):
                    return f"{where} did not accept a connection"
        except OSError as error:
            return f"cannot connect to {where}: {error.strerror or error}"
    return ""


def _connect(address: tuple[str, int], seconds: float, private: bool) -> socket.socket:
    """Connect, with the socket that is standard input if `private`. Raises OSError."""
    if not private:
        return socket.create_connection(address, timeout=seconds)
    sock = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    sock.settimeout(seconds)
    sock.connect(address)
    return sock


def _accepted(sock: socket.socket, until: float) -> bool:
    """Wait until the connection is accepted; return False if that takes too long."""
    pause = _FIRST_PAUSE
    while _is_queued(sock):
        if time.monotonic() + pause > until:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return True


def _is_queued(sock: socket.socket) -> bool:
    """Whether the other end of a connection on this machine is still in the accept queue."""
    ours, theirs = sock.getsockname()[1], sock.getpeername()[1]
    with open("/proc/net/tcp6" if sock.family == socket.AF_INET6 else "/proc/net/tcp") as table:
        next(table)
        for line in table:
            words = line.split()
            ports = [int(word.rpartition(":")[2], 16) for word in words[1:3]]
            if ports == [theirs, ours]:
                return words[9] == "0" and words[3] in _QUEUED
    return False


if __name__ == "__main__":
    if reason := main(*sys.argv[1:]):
        sys.stdout.write(reason)
        sys.exit(1)
