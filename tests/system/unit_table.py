"""Unit files as people write them, for test_unit_files.py: the files of each, and a question."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from tests.system.visitor import Question

UNITS = "/etc/systemd/system"
SHOP = "/opt/shop"
HTTP = b"GET / HTTP/1.0\r\n\r\n"
OK = b"HTTP/1."

WSGI = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "5")])
    return [b"well\\n"]
"""
ASGI = """
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"well"})
"""
# It says READY=1 by itself.
NOTIFYING = """
import asyncio, signal, sys
import sdnotify

async def answer(reader, writer):
    await reader.readuntil(b"\\r\\n\\r\\n")
    writer.write(b"HTTP/1.0 200 OK\\r\\n\\r\\nwell")
    await writer.drain()
    writer.close()

async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]))
    sdnotify.SystemdNotifier().notify("READY=1")
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    await over.wait()
    server.close()

asyncio.run(main())
"""
# It binds as root, and becomes another user.
DROPPING = """
import http.server, os, pwd, signal, sys

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"well")

    def log_message(self, *words):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Answer)
user = pwd.getpwnam("app")
os.setgroups([])
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
server.serve_forever()
"""
# A master, and workers that are processes of their own.
FORKING = """
import os, signal, socket, sys, time

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))

def work():
    while True:
        client, _ = listener.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.0 200 OK\\r\\n\\r\\nwell")

workers = []
for _ in range(3):
    pid = os.fork()
    if not pid:
        work()
    workers.append(pid)

def stop(*_):
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    sys.exit(0)

signal.signal(signal.SIGTERM, stop)
while True:
    signal.pause()
"""
APPS = {
    f"{SHOP}/shop.py": WSGI,
    f"{SHOP}/live.py": ASGI,
    f"{SHOP}/notifying.py": NOTIFYING,
    f"{SHOP}/dropping.py": DROPPING,
    f"{SHOP}/forking.py": FORKING,
}


@dataclass(frozen=True)
class Case:
    """One service."""

    name: str
    """Of the unit, without .service."""
    question: Question
    files: dict[str, str] = field(default_factory=dict)
    """Path → text."""
    refused: str = ""
    """What `sockact wrap` says, if it refuses the service."""
    starts: tuple[str, ...] = ()
    """Units to start, if not only the service."""
    label: str = ""
    """Of the test, if not the name."""

    @property
    def unit(self) -> str:
        """The service."""
        return f"{self.name}.service"


def _http(address: str) -> Question:
    return Question(address, HTTP, OK)


def _case(name: str, address: str, service: str, refused: str = "", **files: str) -> Case:
    """`files`: further ones, by their suffix below the folder of the units."""
    texts = {f"{UNITS}/{name}.{suffix}": text for suffix, text in files.items()}
    starts = tuple(f"{name}.{suffix}" for suffix in files)
    file = f"{name.partition('@')[0]}@" if "@" in name else name
    texts[f"{UNITS}/{file}.service"] = service
    return Case(name, _http(address), texts, refused, (*starts, f"{name}.service"))


GUNICORN_SOCKET = _case(
    "gunicorn",
    "/run/gunicorn.sock",
    """[Unit]
Description=gunicorn daemon
Requires=gunicorn.socket
After=network.target

[Service]
Type=notify
NotifyAccess=main
User=app
Group=app
RuntimeDirectory=gunicorn
WorkingDirectory=/opt/shop
ExecStart=/usr/bin/gunicorn shop:app
ExecReload=/bin/kill -s HUP $MAINPID
KillMode=mixed
TimeoutStopSec=5
PrivateTmp=true
ProtectSystem=strict

[Install]
WantedBy=multi-user.target
""",
    socket="""[Unit]
Description=gunicorn socket

[Socket]
ListenStream=/run/gunicorn.sock
SocketUser=app
SocketMode=0660

[Install]
WantedBy=sockets.target
""",
)
UVICORN = _case(
    "live",
    "127.0.0.1:8101",
    """[Unit]
Description=Live API
After=network-online.target
Wants=network-online.target

[Service]
Type=simple
User=app
WorkingDirectory=/opt/shop
Environment="PYTHONUNBUFFERED=1"
ExecStart=/usr/bin/python3 -m uvicorn live:app --port 8101 --no-access-log
Restart=on-failure
RestartSec=5s

[Install]
WantedBy=multi-user.target
""",
)
DAEMON = _case(
    "daemon",
    "127.0.0.1:8102",
    """[Unit]
Description=Shop, as it was done in 2012

[Service]
Type=forking
PIDFile=/run/daemon/daemon.pid
RuntimeDirectory=daemon
User=app
WorkingDirectory=/opt/shop
ExecStart=/usr/bin/gunicorn --daemon --pid /run/daemon/daemon.pid -b 127.0.0.1:8102 shop:app
ExecReload=/bin/kill -HUP $MAINPID
ExecStop=/bin/kill -TERM $MAINPID

[Install]
WantedBy=multi-user.target
""",
    refused="Type=forking: a program that goes into the background cannot be replaced; keep it in",
)
NOTIFY = _case(
    "notifying",
    "127.0.0.1:8103",
    """[Unit]
Description=A program that says when it is ready

[Service]
Type=notify
DynamicUser=yes
ExecStart=/usr/bin/python3 /opt/shop/notifying.py 8103
TimeoutStartSec=20
WatchdogSec=0

[Install]
WantedBy=multi-user.target
""",
)
HARDENED = _case(
    "hardened",
    "127.0.0.1:8104",
    """[Unit]
Description=As systemd-analyze security wants it

[Service]
WorkingDirectory=/opt/shop
ExecStart=/usr/bin/python3 -m uvicorn --host 127.0.0.1 --port 8104 live:app
DynamicUser=yes
StateDirectory=hardened
CacheDirectory=hardened
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateUsers=yes
RemoveIPC=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
CapabilityBoundingSet=
AmbientCapabilities=
UMask=0077
""",
)
WITH_FILE = _case(
    "envfile",
    "127.0.0.1:8105",
    """[Unit]
Description=Everything is in /etc/default

[Service]
User=app
EnvironmentFile=-/dev/null
EnvironmentFile=-/etc/default/envfile
WorkingDirectory=/opt/shop
ExecStart=/usr/bin/gunicorn $OPTIONS --bind ${HOST}:${PORT} shop:app
ExecReload=/bin/kill -HUP $MAINPID
Restart=always
""",
)
WITH_FILE.files["/etc/default/envfile"] = (
    "# Options\nOPTIONS=--workers 2 --threads 4\nHOST=127.0.0.1\nPORT=8105\n"
)
KILL_PROCESS = _case(
    "forks",
    "127.0.0.1:8106",
    """[Unit]
Description=A master that stops its workers itself

[Service]
ExecStart=/usr/bin/python3 /opt/shop/forking.py 8106
KillMode=process
Restart=on-failure
User=app
LimitNOFILE=65536
TasksMax=200
""",
)
DROPS = _case(
    "drops",
    "127.0.0.1:80",
    """[Unit]
Description=A program that starts as root for its port

[Service]
ExecStart=/usr/bin/python3 /opt/shop/dropping.py 80
Restart=always
RestartSec=3
""",
)
LOGS = _case(
    "logs",
    "127.0.0.1:8108",
    """[Unit]
Description=Logs in a file
StartLimitIntervalSec=0

[Service]
User=app
WorkingDirectory=/opt/shop
ExecStart=/usr/bin/gunicorn --access-logfile - --bind 127.0.0.1:8108 --threads 4 shop:app
StandardOutput=append:/var/log/logs.log
StandardError=append:/var/log/logs.error.log
Restart=always
RestartSec=1
""",
)
TEMPLATE = _case(
    "worker@8109",
    "127.0.0.1:8109",
    """[Unit]
Description=Worker on port %i
PartOf=workers.target

[Service]
User=app
WorkingDirectory=/opt/shop
Environment=PORT=%i
ExecStart=/usr/bin/gunicorn --bind 127.0.0.1:${PORT} --name %N shop:app
ExecStop=/bin/kill -s TERM $MAINPID
TimeoutStopSec=30
SyslogIdentifier=worker-%i
""",
)
SOCKET_FILE = _case(
    "behind-nginx",
    "/run/behind-nginx/http.sock",
    """[Unit]
Description=Behind nginx, on a socket file

[Service]
User=app
Group=www-data
RuntimeDirectory=behind-nginx
WorkingDirectory=/opt/shop
ExecStartPre=/bin/rm -f /run/behind-nginx/http.sock
ExecStart=/usr/bin/gunicorn -m 007 --workers 3 --bind unix:/run/behind-nginx/http.sock shop:app
ExecReload=/bin/kill -s HUP $MAINPID
KillSignal=SIGQUIT
TimeoutStopSec=5
Restart=always
""",
)
SHELL = _case(
    "script",
    "127.0.0.1:8111",
    """[Unit]
Description=Started by a line of shell

[Service]
User=app
WorkingDirectory=/opt/shop
ExecStartPre=/bin/sh -c 'mkdir -p /tmp/script-cache'
ExecStart=/bin/bash -lc 'cd /opt/shop && exec python3 -m uvicorn --workers 2 --port 8111 live:app'
Restart=always
MemoryMax=512M
CPUQuota=200%
PrivateTmp=true
OOMScoreAdjust=-100
""",
)
OWN = (
    GUNICORN_SOCKET,
    UVICORN,
    DAEMON,
    NOTIFY,
    HARDENED,
    WITH_FILE,
    KILL_PROCESS,
    DROPS,
    LOGS,
    TEMPLATE,
    SOCKET_FILE,
    SHELL,
)

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
    _http("127.0.0.1:6081"),
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
