"""The zoo: every server that sockact is tried with, and what is known of it.

One list for the tests, the demonstration, the measurements and docs/servers/. Nothing here knows
of sockact. tests/servers/commands.py has the command lines.
"""

from tests.servers.zoo import lanes, plain, ways
from tests.servers.zoo.loads import CGI, CONCURRENT, KEEP_ALIVE, OTHERS
from tests.servers.zoo.plain import HAS_CGI
from tests.servers.zoo.server import (
    CANNOT,
    CLOSES,
    NONE,
    Gate,
    Server,
    environment,
    search_path,
)

__all__ = [
    "BY_NAME",
    "CANNOT",
    "CGI",
    "CLOSES",
    "CONCURRENT",
    "HAS_CGI",
    "KEEP_ALIVE",
    "NONE",
    "OTHERS",
    "SERVERS",
    "Gate",
    "Server",
    "environment",
    "search_path",
]

SERVERS = (*plain.SERVERS, *ways.SERVERS, *lanes.SERVERS)
BY_NAME = {server.name: server for server in SERVERS}
