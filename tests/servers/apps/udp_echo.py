"""A blocking UDP server: it sends each datagram back, after its version.

python -m tests.servers.apps.udp_echo 127.0.0.1 5300
"""

from __future__ import annotations

import socket
import sys

from tests.servers.apps import answers

VERSION = answers.release()


def main(host: str, port: int) -> None:
    """Serve for ever."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((host, port))
    while True:
        data, peer = sock.recvfrom(1 << 16)
        sock.sendto(answers.fast(VERSION) + data, peer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
