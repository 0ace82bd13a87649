"""Programs for tests.support.program whose gates are moved in either way."""

from __future__ import annotations

import pytest

# Gated by the shim, and from outside.
BLOCKING = "accept(bound())\n"
ASYNCIO = """
import asyncio
async def answer(reader, writer):
    words = (await reader.read(100)).split()
    if words[:1] == [b"slow"]:
        await asyncio.sleep(float(words[1]))
    writer.write(VERSION)
    writer.close()
async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", PORT)
    await server.serve_forever()
asyncio.run(main())
"""
KINDS = pytest.mark.parametrize("body", [BLOCKING, ASYNCIO], ids=["shim", "epoll"])
