"""Servers that are used in other ways: TLS in the server, clients that are silent for a while,
and protocols that have clients of their own.
"""

from __future__ import annotations

from dataclasses import replace

from bench.load import Kind, Load
from tests.servers import commands
from tests.servers.commands import WSGI, Transport
from tests.servers.zoo.loads import CONCURRENT
from tests.servers.zoo.server import CLOSES, NONE, Gate, Server

NEW = Load(Kind.NEW, 2, pause=0.005)
# Server-sent events: a SIGKILL soon after the early SIGTERM would cut them.
EVENTS = (
    NEW,
    Load(Kind.EVENTS, 4, silence=4.0, timeout=30.0),
    Load(Kind.EVENTS, 4, silence=15.0, timeout=60.0),
)
WEBSOCKETS = (NEW, Load(Kind.WEBSOCKET, 8, silence=40.0, timeout=60.0))
# In TLS a connection looks idle once its hands are shaken.
LATE = (
    # TLS takes time on a busy machine.
    *(replace(load, timeout=40.0) for load in CONCURRENT),
    Load(Kind.IDLE_FIRST, 2, silence=20.0, timeout=60.0),
)
# By default gunicorn closes a connection after 2 s without a request, which a client on a busy
# machine may exceed; and each silent client holds a thread.
PATIENT = ("--keep-alive", "30")
# Without channels that never pause: gRPC's own stop() cancels a call of theirs now and then.
CALLS = (
    Load(Kind.RPC, 2, pause=0.02),
    Load(Kind.RPC_KEPT, 2, pause=4.0),
    Load(Kind.RPC_SLOW, 2),
    Load(Kind.RPC_STREAM, 2),
)
FASTCGI = (
    Load(Kind.FASTCGI, 4, pause=0.005),
    Load(Kind.FASTCGI_SLOW, 2),
    Load(Kind.FASTCGI_STREAM, 2),
)
# Both generations accept, until the drain timeout.
SHARED = ("--drain-timeout", "3s", "--kill-timeout", "20s")
# As many generations drain at a time as it takes.
DRAINING = ("--max-draining", "20")

SERVERS: tuple[Server, ...] = (
    Server(
        "uvicorn events",
        commands.uvicorn(),
        Gate.EPOLL,
        "uvicorn",
        EVENTS,
        settings=(*DRAINING, "--kill-timeout", "2s"),
        packages=("uvicorn",),
    ),
    Server(
        "uvicorn websockets",
        commands.uvicorn(),
        Gate.EPOLL,
        "uvicorn",
        WEBSOCKETS,
        settings=DRAINING,
        packages=("uvicorn", "websockets"),
    ),
    Server(
        "uvicorn tls",
        commands.uvicorn(),
        Gate.EPOLL,
        "uvicorn",
        LATE,
        Transport.TLS,
        settings=DRAINING,
        packages=("uvicorn",),
        programs=("openssl",),
    ),
    Server(
        "gunicorn tls",
        commands.gunicorn("--workers", "2", "--threads", "16", *PATIENT, WSGI),
        Gate.EPOLL,
        "gunicorn",
        LATE,
        Transport.TLS,
        settings=DRAINING,
        packages=("gunicorn",),
        programs=("openssl",),
    ),
    Server(
        "grpc threads",
        commands.script("grpc_server"),
        Gate.EPOLL,
        NONE,
        CALLS,
        packages=("grpc",),
    ),
    Server(
        "grpc asyncio",
        commands.script("grpc_server", "aio"),
        Gate.EPOLL,
        NONE,
        CALLS,
        packages=("grpc",),
    ),
    Server(
        "aiohttp any",
        commands.script("aiohttp_app"),
        Gate.EPOLL,
        "aiohttp",
        transport=Transport.BOTH,
        packages=("aiohttp",),
    ),
    Server(
        "tornado any",
        commands.script("tornado_server"),
        Gate.EPOLL,
        "tornado",
        transport=Transport.BOTH,
        packages=("tornado",),
    ),
    Server(
        "daphne unix",
        commands.daphne,
        Gate.EPOLL,
        "twisted",
        transport=Transport.UNIX,
        packages=("daphne",),
    ),
    Server(
        "twisted web unix",
        commands.twisted,
        Gate.EPOLL,
        "twisted",
        transport=Transport.UNIX,
        packages=("twisted",),
    ),
    Server(
        "puma unix",
        commands.puma,
        Gate.NONE,
        CLOSES,
        transport=Transport.UNIX,
        settings=SHARED,
        stays=True,
        programs=("puma",),
        optional=True,
    ),
    Server(
        "php-fpm",
        commands.php_fpm,
        Gate.NONE,
        NONE,
        FASTCGI,
        Transport.UNIX,
        settings=(*SHARED, "--stop-signal", "SIGQUIT"),
        stays=True,
        programs=("php-fpm",),
        optional=True,
    ),
)
