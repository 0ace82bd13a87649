"""How each server is started: its own command line, nothing that knows of sockact."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from tests import ROOT

APPS = "tests.servers.apps"
WSGI = f"{APPS}.wsgi:app"
ASGI = f"{APPS}.asgi:app"
UVICORN_WORKER = "uvicorn.workers.UvicornWorker"
APPS_FOLDER = Path(__file__).resolve().parent / "apps"


class Transport(Enum):
    """What a server listens on."""

    TCP = "tcp"
    UNIX = "unix"
    UDP = "udp"
    TLS = "tls"
    BOTH = "both"  # IPv4 and IPv6, on every address


@dataclass(frozen=True)
class Address:
    """Where a server is to listen: a host and a port, or a path."""

    host: str = ""
    port: int = 0
    path: str = ""
    transport: Transport = Transport.TCP
    certificate: str = ""  # the file with it and its key

    @property
    def listen(self) -> tuple[str, ...]:
        """As `sockact run --listen` wants them."""
        if self.transport is Transport.BOTH:
            return (f"0.0.0.0:{self.port}", f"[::]:{self.port}")
        prefix = "udp:" if self.transport is Transport.UDP else ""
        return (prefix + self.bind,)

    @property
    def target(self) -> str:
        """As the load client wants it."""
        if self.transport is Transport.BOTH:
            return f"127.0.0.1:{self.port},[::1]:{self.port}"
        prefix = "tls:" if self.transport is Transport.TLS else ""
        return prefix + self.bind

    @property
    def bind(self) -> str:
        """As many servers want it."""
        if self.path:
            return self.path
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


Command = Callable[[Address], list[str]]


def script(module: str, *options: str) -> Command:
    """One of the applications that is a program: HOST PORT and options. No HOST: its default."""

    def command(address: Address) -> list[str]:
        name = f"{APPS}.{module}"
        return ["python", "-m", name, address.host, str(address.port), *options]

    return command


def isolated(module: str, *options: str) -> Command:
    """As `script`, in a Python that ignores PYTHONPATH and has no shim."""
    start = (
        f"import runpy, sys; sys.path[:0] = [{str(ROOT)!r}, '']; "
        f"runpy.run_module({APPS + '.' + module!r}, run_name='__main__')"
    )

    def command(address: Address) -> list[str]:
        return ["python", "-I", "-c", start, address.host, str(address.port), *options]

    return command


def http_server(*options: str) -> Command:
    """The standard library's file server."""

    def command(address: Address) -> list[str]:
        server = ["python", "-m", "http.server", str(address.port), "--bind", address.host]
        return [*server, *options]

    return command


def gunicorn(*options: str) -> Command:
    """gunicorn; the options name the workers and the application."""

    def command(address: Address) -> list[str]:
        where = f"unix:{address.path}" if address.path else address.bind
        if address.certificate:
            keys = (f"--certfile={address.certificate}", f"--keyfile={address.certificate}")
            return ["gunicorn", "--bind", where, *keys, *options]
        return ["gunicorn", "--bind", where, *options]

    return command


def uvicorn(*options: str) -> Command:
    """uvicorn."""

    def command(address: Address) -> list[str]:
        where = ["--host", address.host, "--port", str(address.port)]
        if address.path:
            where = ["--uds", address.path]
        if address.certificate:
            where += ["--ssl-certfile", address.certificate]
            where += ["--ssl-keyfile", address.certificate]
        return ["uvicorn", *where, "--no-access-log", *options, ASGI]

    return command


def waitress(address: Address) -> list[str]:
    """waitress."""
    return ["waitress-serve", f"--listen={address.bind}", "--threads=8", WSGI]


def aiohttp(address: Address) -> list[str]:
    """aiohttp's own runner."""
    where = ["-H", address.host, "-P", str(address.port)]
    return ["python", "-m", "aiohttp.web", *where, f"{APPS}.aiohttp_app:application"]


def granian(address: Address) -> list[str]:
    """granian: a server in Rust."""
    where = ["--host", address.host, "--port", str(address.port)]
    return ["granian", "--interface", "asgi", *where, "--no-access-log", ASGI]


def hypercorn(address: Address) -> list[str]:
    """hypercorn."""
    return ["hypercorn", "--bind", address.bind, ASGI]


def daphne(address: Address) -> list[str]:
    """daphne: ASGI on Twisted."""
    if address.path:
        return ["daphne", "-u", address.path, ASGI]
    return ["daphne", "-b", address.host, "-p", str(address.port), ASGI]


def twisted(address: Address) -> list[str]:
    """Twisted's web server with a WSGI application; on a Unix socket, where each of its requests
    would get status 500, with a resource.
    """
    program = ["twist", "--log-level=warn", "web"]
    if address.path:
        return [
            *program,
            f"--listen=unix:{address.path}",
            f"--class={APPS}.twisted_resource.Answers",
        ]
    where = f"tcp:{address.port}:interface={address.host}"
    return [*program, f"--listen={where}", f"--wsgi={APPS}.wsgi.app"]


def sanic(address: Address) -> list[str]:
    """Sanic's own command."""
    where = ["--host", address.host, "--port", str(address.port)]
    return ["sanic", f"{APPS}.sanic_app:app", *where, "--no-motd", "--no-access-logs"]


def cheroot(address: Address) -> list[str]:
    """CherryPy's server."""
    return ["cheroot", "--bind", address.bind, WSGI]


def django(address: Address) -> list[str]:
    """Django's development server."""
    return ["python", "-m", f"{APPS}.django_site", "runserver", "--noreload", address.bind]


def uwsgi(address: Address) -> list[str]:
    """uWSGI, the distribution's. It answers and closes, without saying so unless it is told to.

    To uWSGI SIGTERM means a restart; with --die-on-term it ends it, as everywhere else.
    """
    program = ["uwsgi", "--plugin", "python3", "--http-socket", address.bind, "--module", WSGI]
    workers = ["--master", "--processes", "2", "--threads", "8"]
    rest = ["--need-app", "--die-on-term", "--disable-logging", "--add-header", "Connection: close"]
    return [*program, *workers, *rest]


def node(address: Address) -> list[str]:
    """Node's own HTTP server."""
    return ["node", str(APPS_FOLDER / "node_server.js"), address.host, str(address.port)]


def go(address: Address) -> list[str]:
    """Go's own HTTP server, in a static binary that bench/setup.sh builds."""
    return ["zoo-go", address.bind]


def puma(address: Address) -> list[str]:
    """Puma, the distribution's."""
    bind = f"unix://{address.path}" if address.path else f"tcp://{address.bind}"
    options = ["--quiet", "--config", str(APPS_FOLDER / "puma.rb"), "--bind", bind]
    return ["puma", *options, str(APPS_FOLDER / "config.ru")]


def php_fpm(address: Address) -> list[str]:
    """PHP-FPM, the distribution's; its configuration is in the release."""
    prefix = str(Path(address.path).parent)
    options = ["--nodaemonize", "--allow-to-run-as-root", "--fpm-config", "php-fpm.conf"]
    return ["php-fpm", *options, "--prefix", prefix]


def c(way: str) -> Command:
    """A program in C, which bench/setup.sh builds: it waits in `accept` or in `poll`."""

    def command(address: Address) -> list[str]:
        return ["zoo-c", way, address.host, str(address.port)]

    return command


def java(address: Address) -> list[str]:
    """The JDK's own HTTP server, which bench/setup.sh compiles."""
    return ["zoo-java", address.host, str(address.port)]


def nginx(_address: Address) -> list[str]:
    """nginx, the distribution's; its configuration is in the release."""
    return ["nginx", "-e", "stderr", "-p", ".", "-c", "nginx.conf"]


def redis(address: Address) -> list[str]:
    """Redis, the distribution's; its configuration is in the release.

    It reports errors on standard output, of which sockact keeps nothing.
    """
    where = f"--bind {address.host} --port {address.port}"
    return ["sh", "-c", f"exec redis-server redis.conf {where} >&2"]


def memcached(address: Address) -> list[str]:
    """memcached, the distribution's; its options are in the release."""
    where = f"-U 0 -u root -l {address.host} -p {address.port}"
    return ["sh", "-c", f"read -r options <memcached.options && exec memcached {where} $options"]
