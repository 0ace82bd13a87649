"""Every server on one address, with all the clients that it can serve."""

from __future__ import annotations

import sys
from dataclasses import replace

from tests.servers import commands
from tests.servers.commands import ASGI, UVICORN_WORKER, WSGI, Transport
from tests.servers.zoo.loads import (
    CGI,
    DATAGRAMS,
    FILES,
    LINES,
    OTHERS,
    PROCESSES,
    SEQUENTIAL,
)
from tests.servers.zoo.server import CANNOT, CLOSES, NONE, Gate, Server

# The CGI handler of http.server is gone from Python 3.15 on.
HAS_CGI = sys.version_info < (3, 15)


def _unkept(*servers: Server) -> tuple[Server, ...]:
    """Servers that nobody can make close politely, without the clients that would suffer."""
    return tuple(replace(server, loads=OTHERS) for server in servers)


SERVERS: tuple[Server, ...] = (
    Server("http.server", commands.http_server(), Gate.SHIM, CLOSES, FILES, public=True),
    Server(
        "http.server 1.1",
        commands.http_server("--protocol", "HTTP/1.1"),
        Gate.SHIM,
        "http_server",
        FILES,
        public=True,
    ),
    *(
        (
            Server(
                "http.server cgi",
                commands.http_server("--cgi"),
                Gate.SHIM,
                CLOSES,
                CGI,
                public=True,
            ),
        )
        if HAS_CGI
        else ()
    ),
    Server("wsgiref", commands.script("wsgiref_server"), Gate.SHIM, CLOSES, SEQUENTIAL),
    Server("accept loop", commands.script("accept_loop"), Gate.SHIM, CLOSES, SEQUENTIAL),
    Server("accept loop, threads", commands.script("accept_loop", "threads"), Gate.SHIM, CLOSES),
    Server(
        "asyncio.start_server",
        commands.script("asyncio_server"),
        Gate.EPOLL,
        NONE,
        LINES,
        asyncio=True,
    ),
    Server("udp echo", commands.script("udp_echo"), Gate.SHIM, NONE, DATAGRAMS, Transport.UDP),
    Server(
        "gunicorn sync",
        commands.gunicorn("--workers", "8", WSGI),
        Gate.SHIM,
        CLOSES,
        PROCESSES,
        packages=("gunicorn",),
    ),
    Server(
        "gunicorn gthread",
        commands.gunicorn("--workers", "2", "--threads", "8", WSGI),
        Gate.EPOLL,
        "gunicorn",
        packages=("gunicorn",),
    ),
    Server(
        "gunicorn uvicorn",
        commands.gunicorn("--workers", "2", "--worker-class", UVICORN_WORKER, ASGI),
        Gate.EPOLL,
        "uvicorn",
        asyncio=True,
        packages=("gunicorn", "uvicorn"),
    ),
    Server(
        "gunicorn unix",
        commands.gunicorn("--workers", "2", "--threads", "8", WSGI),
        Gate.EPOLL,
        "gunicorn",
        transport=Transport.UNIX,
        packages=("gunicorn",),
    ),
    Server(
        "uvicorn asyncio",
        commands.uvicorn("--loop", "asyncio"),
        Gate.EPOLL,
        "uvicorn",
        asyncio=True,
        packages=("uvicorn",),
    ),
    Server(
        "uvicorn uvloop",
        commands.uvicorn("--loop", "uvloop"),
        Gate.EPOLL,
        "uvicorn",
        asyncio=True,
        packages=("uvicorn", "uvloop"),
    ),
    Server(
        "uvicorn unix",
        commands.uvicorn("--loop", "uvloop"),
        Gate.EPOLL,
        "uvicorn",
        transport=Transport.UNIX,
        asyncio=True,
        packages=("uvicorn", "uvloop"),
    ),
    Server("hypercorn", commands.hypercorn, Gate.EPOLL, "hypercorn", packages=("hypercorn",)),
    Server("daphne", commands.daphne, Gate.EPOLL, "twisted", packages=("daphne",)),
    Server("sanic", commands.sanic, Gate.EPOLL, "sanic", packages=("sanic",)),
    Server("aiohttp", commands.aiohttp, Gate.EPOLL, "aiohttp", asyncio=True, packages=("aiohttp",)),
    Server(
        "tornado",
        commands.script("tornado_server"),
        Gate.EPOLL,
        "tornado",
        packages=("tornado",),
    ),
    Server("twisted web", commands.twisted, Gate.EPOLL, "twisted", packages=("twisted",)),
    Server(
        "gevent.pywsgi",
        commands.script("gevent_server"),
        Gate.EPOLL,
        "gevent",
        packages=("gevent",),
    ),
    Server("waitress", commands.waitress, Gate.SHIM, "waitress", packages=("waitress",)),
    Server("cheroot", commands.cheroot, Gate.EPOLL, "cheroot", packages=("cheroot",)),
    Server(
        "werkzeug",
        commands.script("werkzeug_server"),
        Gate.SHIM,
        CLOSES,
        packages=("werkzeug",),
    ),
    Server("django runserver", commands.django, Gate.SHIM, "django", packages=("django",)),
    Server("uwsgi", commands.uwsgi, Gate.EPOLL, CLOSES, programs=("uwsgi",)),
    *_unkept(
        Server(
            "granian", commands.granian, Gate.EPOLL, CANNOT, asyncio=True, packages=("granian",)
        ),
        Server("node", commands.node, Gate.EPOLL, CANNOT, programs=("node",)),
        Server("go", commands.go, Gate.EPOLL, CANNOT, programs=("zoo-go",)),
    ),
)
