"""The clients of a load that ask memcached and Redis for their status: one connection each.

The server closes the connection because the client asks for that with its last command.
"""

from __future__ import annotations

import asyncio
import re
import socket

from bench.clients import Client
from bench.exchange import Failed
from bench.tally import Failure
from tests.servers.releases import CONNECTIONS


class MemcachedClient(Client):
    """memcached's settings, over its text protocol. With a silence: after it has connected."""

    commands = b"stats settings\r\nquit\r\n"
    begin, end = b"STAT ", b"END\r\n"
    version = re.compile(rb"^STAT maxconns (\d+)\r$", re.MULTILINE)

    async def once(self) -> str:
        loop = asyncio.get_running_loop()
        data = b""
        with await self.target.connect(socket.SOCK_STREAM) as sock:
            await asyncio.sleep(self.load.silence)
            await loop.sock_sendall(sock, self.commands)
            while chunk := await loop.sock_recv(sock, 1 << 16):
                data += chunk
        found = self.version.search(data)
        if found is None or not data.startswith(self.begin) or not data.endswith(self.end):
            raise Failed(Failure.EOF, f"got {data[-60:]!r}")
        return str(int(found[1]) - CONNECTIONS)


class RedisClient(MemcachedClient):
    """Redis' answers to PING and INFO."""

    commands = b"PING\r\nINFO clients\r\nQUIT\r\n"
    begin, end = b"+PONG\r\n", b"+OK\r\n"
    version = re.compile(rb"^maxclients:(\d+)\r$", re.MULTILINE)
