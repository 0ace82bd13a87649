"""Reloads under load where something is refused, short, full, gone, or there in large numbers.

Nothing may fail for a client, no reload may fail, and the supervisor reports no bug of its own.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.bare import temporary
from bench.load import Kind, Load, Plan
from bench.process import LoadProcess
from bench.tally import Report
from tests import ROOT
from tests.servers import zoo
from tests.servers.releases import Releases
from tests.support import deployment, refuse, varlink, wait
from tests.support.service import Service

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SERVERS = ("uvicorn asyncio", "gunicorn gthread", "http.server 1.1")
LOADS = (Load(Kind.NEW, 4, pause=0.005, timeout=60.0),)
LONGEST = 1800.0
DRAIN = ("--drain-timeout", "8s")
REFUSED = (
    *("netlink=EAFNOSUPPORT", "pidfd_getfd", "pidfd_getfd=ENOSYS", "pidfd_open=ENOSYS", "kcmp"),
    *("memfd_create=ENOSYS", "inotify_init1", "process_vm_readv,ptrace", "getxattr", "seccomp"),
)
CROWD = ("-m", "tests.servers.apps.crowd")
BUG = "internal error:"
FULL = "full"


@dataclass
class Outcome:
    """What became of the reloads and of the clients."""

    codes: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    report: Report = field(default_factory=Report)
    gate: str = ""
    resident_kib: int = 0
    descriptors: int = 0
    trouble: str = ""


@dataclass(frozen=True)
class Fault:
    """`begin` gets the folder of the service before its start, `during` the running service."""

    name: str
    launcher: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    begin: Callable[[Path, ExitStack], None] | None = None
    during: Callable[[Service, ExitStack], None] | None = None
    root: bool = False
    by_signal: bool = False
    """Reload with SIGHUP: no command reaches the service."""


def _full(folder: Path, stack: ExitStack) -> None:
    """A file system that is full but for what is there already."""
    place = folder / FULL
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", place], check=True)
    stack.callback(lambda: subprocess.run(["umount", "-l", place], check=True))


def _fill(folder: Path) -> None:
    with suppress(OSError), (folder / FULL / "x").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def _full_at_once(folder: Path, stack: ExitStack) -> None:
    _full(folder, stack)
    _fill(folder)


def _full_later(service: Service, _stack: ExitStack) -> None:
    _fill(service.folder)


def _no_state(service: Service, _stack: ExitStack) -> None:
    shutil.rmtree(service.folder / "state")


def _no_runtime(service: Service, _stack: ExitStack) -> None:
    shutil.rmtree(service.runtime / service.name)


def _clients(service: Service, stack: ExitStack) -> None:
    """As many connections to the control socket as it takes."""
    for _ in range(60):
        sock = stack.enter_context(socket.socket(socket.AF_UNIX))
        sock.connect(str(service.control))


def faults() -> list[Fault]:
    """All that are tried with each server."""
    found = [Fault(f"refused: {calls}", refuse.launcher(calls)) for calls in REFUSED]
    few = ("prlimit", "--nofile=64:64")
    return [
        *found,
        Fault("64 descriptors", few),
        Fault("70 descriptors, 60 control clients", ("prlimit", "--nofile=70:70"), during=_clients),
        Fault("400 MB of address space", ("prlimit", "--as=400000000")),
        Fault("full disk for the state", begin=_full_at_once, root=True),
        Fault("full disk for the log", begin=_full, during=_full_later, root=True),
        Fault("state directory removed", during=_no_state),
        Fault("runtime directory removed", during=_no_runtime, by_signal=True),
    ]


def measure(fault: Fault, name: str, reloads: int) -> Outcome:
    """Reload a server under load while the fault is there."""
    if fault.root and os.geteuid() != 0:
        return Outcome(trouble="only root can try this")
    server = zoo.BY_NAME[name]
    with ExitStack() as stack:
        folder = stack.enter_context(temporary())
        launcher, options = fault.launcher, (*fault.options, *DRAIN)
        if fault.begin:
            fault.begin(folder, stack)
            if fault.during:
                options = (*options, "--log", str(folder / FULL / "out.log"))
            else:
                launcher = ("env", f"SOCKACT_STATE_DIR={folder / FULL / 'state'}", *launcher)
        one = deployment.deploy(server, folder, options, launcher=launcher)
        stack.callback(_close, one.service)
        try:
            one.service.wait_ready()
        except AssertionError as error:
            return Outcome(trouble=" ".join(str(error).split())[-150:])
        if fault.during:
            fault.during(one.service, stack)
        load = stack.enter_context(LoadProcess(Plan(one.address.target, LOADS, LONGEST)))
        load.wait_started()
        call = _hang_up if fault.by_signal else _reload
        return _reloads(one.service, one.releases, load, reloads, lambda _: one.version(), call)


def _close(service: Service) -> None:
    with suppress(AssertionError):
        service.close()


def _reload(service: Service) -> int:
    return service.reload(timeout=180.0).code


def _hang_up(service: Service) -> int:
    service.signal(signal.SIGHUP)
    return 0


def _reloads(
    service: Service,
    releases: Releases,
    load: LoadProcess,
    reloads: int,
    version: Callable[[str], str],
    call: Callable[[Service], int] = _reload,
) -> Outcome:
    found = Outcome()
    for number in range(2, reloads + 2):
        wanted = str(number)
        releases.publish(wanted)
        began = time.monotonic()
        found.codes.append(call(service))
        found.seconds.append(time.monotonic() - began)
        try:
            wait.until(lambda wanted=wanted: version(wanted) == wanted, f"version {wanted}", 30.0)  # type: ignore[misc]
        except TimeoutError as error:
            found.trouble = str(error)
            break
    found.gate = _gate(service)
    found.report = load.stop()
    found.resident_kib, found.descriptors = _size(service.process.pid)
    if BUG in service.stderr:
        found.trouble = service.stderr.partition(BUG)[2][:150]
    return found


def _gate(service: Service) -> str:
    try:
        status = service.status()
    except (OSError, varlink.VarlinkError):
        return ""
    running = [one for one in status["generations"] if one["state"] == "running"]
    return str(running[0]["gate_by"]) if running else ""


def _size(pid: int) -> tuple[int, int]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    resident = next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return resident, len(os.listdir(f"/proc/{pid}/fd"))


@contextmanager
def _crowd(kind: str, count: int) -> Iterator[tuple[Service, Releases, str]]:
    """The server of tests/servers/apps/crowd.py, its releases, and its address."""
    with temporary() as folder:
        releases = Releases(folder / "releases")
        releases.publish("1")
        ports = [wait.free_port()]
        if kind == "listeners":
            while len(ports) < count:
                port = wait.free_port()
                ports = [*ports, port] if port == ports[-1] + 1 else [port]
        service = Service(
            [sys.executable, *CROWD, kind, "127.0.0.1", str(ports[0]), str(count)],
            folder=folder,
            listen=[f"127.0.0.1:{port}" for port in ports],
            options=("--directory", str(releases.current), *DRAIN),
            environment={**os.environ, "PYTHONPATH": f"{ROOT}:."},
        )
        try:
            service.wait_ready(180.0)
            yield service, releases, f"127.0.0.1:{ports[-1]}"
        finally:
            _close(service)


def crowd(kind: str, count: int, reloads: int) -> tuple[Outcome, str]:
    """So many workers or listeners: the outcome, and what the journal says of gates."""
    with _crowd(kind, count) as (service, releases, target):
        with LoadProcess(Plan(target, LOADS, LONGEST)) as load:
            load.wait_started()
            found = _reloads(service, releases, load, reloads, lambda _: _version(target))
        said = [line for line in service.stderr.splitlines() if "accept" in line]
    return found, "; ".join(dict.fromkeys(said))[:200]


def _version(target: str) -> str:
    """The version that answers; "" if none does, which the load counts, too."""
    host, _, port = target.partition(":")
    with suppress(OSError), socket.create_connection((host, int(port)), timeout=60.0) as sock:
        sock.sendall(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n")
        data = b""
        while chunk := sock.recv(4096):
            data += chunk
        return data.decode().rpartition("version ")[2].strip()
    return ""


def kept(count: int, reloads: int) -> tuple[Outcome, int]:
    """Reloads while clients keep so many connections: the outcome, and how many were reset."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with ExitStack() as stack:
        folder = stack.enter_context(temporary())
        one = deployment.deploy(zoo.BY_NAME["uvicorn asyncio"], folder, DRAIN)
        stack.callback(_close, one.service)
        one.service.wait_ready()
        # Before the others: select(2), with which it waits, takes only low descriptors.
        load = stack.enter_context(LoadProcess(Plan(one.address.target, LOADS, LONGEST)))
        load.wait_started()
        clients = []
        for _ in range(count):
            sock = socket.create_connection((one.address.host, one.address.port), timeout=60.0)
            clients.append(stack.enter_context(sock))
            sock.sendall(b"GET /fast HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.recv(4096)
        found = _reloads(one.service, one.releases, load, reloads, lambda _: one.version())
        return found, sum(map(_was_reset, clients))


def _was_reset(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        while sock.recv(4096):
            pass
    except BlockingIOError:
        pass
    except OSError:
        return True
    return False
