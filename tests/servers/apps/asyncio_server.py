"""asyncio.start_server as its documentation shows it; a line protocol: command, answer, end.

python -m tests.servers.apps.asyncio_server 127.0.0.1 8000
"""

from __future__ import annotations

import asyncio
import sys

from tests.servers.apps import answers

VERSION = answers.release()


async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read one command, answer it, close."""
    command = (await reader.readline()).strip()
    if command == b"stream":
        for number in range(1, answers.LINES + 1):
            writer.write(answers.line(VERSION, number))
            await writer.drain()
            await asyncio.sleep(answers.LINE_PAUSE)
    else:
        if command == b"slow":
            await asyncio.sleep(answers.SLOW_SECONDS)
        writer.write(answers.fast(VERSION))
        await writer.drain()
    writer.close()
    await writer.wait_closed()


async def main(host: str, port: int) -> None:
    """Serve for ever."""
    server = await asyncio.start_server(handle, host, port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
