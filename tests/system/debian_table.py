"""Debian's own units, with what an administrator adds, for test_debian_units.py."""

from __future__ import annotations

from dataclasses import replace

from tests.system.unit_programs import SHOP
from tests.system.unit_table import HTTP, OK, UNITS, Case
from tests.system.visitor import Question

# Debian's own units, with what an administrator adds.
VCL = """vcl 4.1;
backend default none;
sub vcl_recv { return (synth(200)); }
"""
# BEGIN_REQUEST, PARAMS (REQUEST_METHOD=GET, SCRIPT_FILENAME=/opt/shop/index.php), STDIN.
_PARAMS = b"".join(
    bytes((len(key), len(value))) + key + value
    for key, value in ((b"REQUEST_METHOD", b"GET"), (b"SCRIPT_FILENAME", b"/opt/shop/index.php"))
)


def _record(kind: int, content: bytes) -> bytes:
    return bytes((1, kind, 0, 1)) + len(content).to_bytes(2, "big") + b"\0\0" + content


FASTCGI = _record(1, b"\0\1\0\0\0\0\0\0") + _record(4, _PARAMS) + _record(4, b"") + _record(5, b"")
MEMCACHED = Case("memcached", Question("127.0.0.1:11211", b"version\r\n", b"VERSION"))
# Debian's unit denies every program but redis itself.
REDIS = Case(
    "redis-server",
    Question("127.0.0.1:6379", b"PING\r\n", b"+PONG"),
    refused="NoExecPaths=/: sockact may not be executed (/usr/bin/sockact, ",
)
REDIS_OPEN = replace(
    REDIS,
    files={
        f"{UNITS}/redis-server.service.d/exec.conf": (
            "[Service]\nExecPaths=/usr/bin/sockact /usr/bin/python3.13\n"
        )
    },
    refused="",
    label="redis-server-exec-paths",
)
VARNISH = Case(
    "varnish",
    Question("127.0.0.1:6081", HTTP, OK),
    {"/etc/varnish/default.vcl": VCL},
    refused="only one instance of its program can run: Error: Varnishd is already running",
)
# SSLRequest of PostgreSQL's protocol.
PGBOUNCER = Case(
    "pgbouncer",
    Question("127.0.0.1:6432", (8).to_bytes(4, "big") + b"\x04\xd2\x16\x2f", b"N"),
    refused="pgbouncer.socket is inactive while the service is running",
)
# As that message advises; then its pid file is in the way.
PGBOUNCER_SOCKET = replace(
    PGBOUNCER,
    refused="only one instance of its program can run: pidfile '/var/run/postgresql/pgbouncer.pid'",
    starts=("pgbouncer.socket", "pgbouncer.service"),
    label="pgbouncer-socket",
)
PGBOUNCER_FREE = replace(
    PGBOUNCER_SOCKET,
    files={"/etc/pgbouncer/pgbouncer.ini": "[pgbouncer]\nlisten_addr = localhost\n"},
    refused="",
    label="pgbouncer-no-pidfile",
)
PHP = Case(
    "php8.4-fpm",
    Question("/run/php/php8.4-fpm.sock", FASTCGI, _record(6, b"")[:2]),
    {f"{SHOP}/index.php": "well"},
)
DEBIAN = (MEMCACHED, REDIS, REDIS_OPEN, VARNISH, PGBOUNCER, PGBOUNCER_SOCKET, PGBOUNCER_FREE, PHP)
PACKAGES = ("memcached", "redis-server", "varnish", "php-fpm", "pgbouncer")
