"""Servers that have no gate of their own, or are run without one: each generation has a lane.

Those in Python are run without the shim.
"""

from __future__ import annotations

from bench.load import Kind, Load
from tests.servers import commands
from tests.servers.commands import Command, Transport
from tests.servers.zoo.loads import CONCURRENT, DATAGRAMS, FILES, LINES, OTHERS
from tests.servers.zoo.server import CANNOT, NONE, Gate, Server

LANES = ("--lanes", "require")
# Fewer long ones than the server has threads.
THREADS = (Load(Kind.LINE, 4, pause=0.005), Load(Kind.LINE_SLOW, 1), Load(Kind.LINE_STREAM, 1))
UNKEPT_FILES = tuple(load for load in FILES if load.kind is not Kind.KEEP_ALIVE)


def _server(
    name: str,
    command: Command,
    loads: tuple[Load, ...] = CONCURRENT,
    *programs: str,
    keep_alive: str = NONE,
    settings: tuple[str, ...] = (),
    transport: Transport = Transport.TCP,
) -> Server:
    return Server(
        name,
        command,
        Gate.LANE,
        keep_alive,
        loads,
        transport,
        settings=(*LANES, *settings),
        programs=programs,
        optional=bool(programs),
    )


def _store(kind: Kind) -> tuple[Load, ...]:
    """A server that holds everything in memory; its slow clients connect before they ask."""
    return Load(kind, 4, pause=0.005), Load(kind, 2, silence=1.0)


SERVERS: tuple[Server, ...] = (
    _server("select loop", commands.isolated("select_loop"), LINES),
    _server(
        "udp echo isolated",
        commands.isolated("udp_echo"),
        DATAGRAMS,
        transport=Transport.UDP,
    ),
    _server("c accept", commands.c("accept"), THREADS, "zoo-c"),
    _server("c poll", commands.c("poll"), LINES, "zoo-c"),
    _server("memcached", commands.memcached, _store(Kind.MEMCACHED), "memcached"),
    _server("redis", commands.redis, _store(Kind.REDIS), "redis-server"),
    _server(
        "nginx",
        commands.nginx,
        UNKEPT_FILES,
        "nginx",
        keep_alive=CANNOT,
        settings=("--stop-signal", "SIGQUIT"),
    ),
    _server("java", commands.java, OTHERS, "zoo-java", keep_alive=CANNOT),
)
