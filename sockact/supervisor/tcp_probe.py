"""Connect to each address: exit status 0 when somebody accepts every connection, else 1 and a line.

    tcp_probe.py SECONDS HOST PORT [HOST PORT …]

The kernel completes a connection without the program, so connecting proves nothing. But a
connection that nobody has accepted has no inode: /proc/net/tcp shows 0 (proc_pid_net(5)). Run as a
program of its own (python -I -S), as every probe; no other way to learn it works without a wait.
"""

from __future__ import annotations

import socket
import sys
import time

_FIRST_PAUSE = 0.002
_LONGEST_PAUSE = 0.2
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def main(seconds: str, *addresses: str) -> str:
    """Empty, or what is wrong."""
    until = time.monotonic() + float(seconds)
    for host, port in zip(addresses[::2], addresses[1::2], strict=True):
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            with socket.create_connection((_ANY.get(host, host), int(port)), timeout=5) as sock:
                if not _accepted(sock, until):
                    return f"nobody accepted a connection to {where}"
        except OSError as error:
            return f"cannot connect to {where}: {error.strerror or error}"
    return ""


def _accepted(sock: socket.socket, until: float) -> bool:
    """Wait until the server's end has an inode, or is gone again."""
    pause = _FIRST_PAUSE
    while _inode(sock) == 0:
        if time.monotonic() + pause > until:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return True


def _inode(sock: socket.socket) -> int | None:
    """Of the other end of a connection on this machine; None when it is gone."""
    ours, theirs = sock.getsockname()[1], sock.getpeername()[1]
    with open("/proc/net/tcp6" if sock.family == socket.AF_INET6 else "/proc/net/tcp") as table:
        next(table)
        for line in table:
            words = line.split()
            ports = [int(word.rpartition(":")[2], 16) for word in words[1:3]]
            if ports == [theirs, ours]:
                return int(words[9])
    return None


if __name__ == "__main__":
    if reason := main(*sys.argv[1:]):
        sys.stdout.write(reason)
        sys.exit(1)
