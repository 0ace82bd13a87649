"""Who holds the listeners, and whether the program's own address is one: rules of
`sockact check`.
"""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError
from sockact.core.matching import Address, Kind
from sockact.systemd import listeners
from sockact.units import addresses, socket_files
from sockact.units.check.check import Finding, Level
from sockact.units.listening import held
from sockact.units.render import service_units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.core.settings import Settings
    from sockact.units.facts import Facts, Unit

ERROR, WARNING = Level.ERROR, Level.WARNING
_FEW = 128


def findings(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    """Everything about the sockets."""
    known: list[Address] = []
    for socket in facts.sockets:
        yield from _options(socket)
        mine, strange = addresses_of(socket)
        known += mine
        for text in strange:
            message = "sockact cannot hand it over"
            write = "use TCP, UDP or a Unix stream socket"
            yield Finding(ERROR, socket.name, f"Listen {text}", message, write)
        yield from _state(facts, socket, mine)
        yield from _removed(facts, socket, mine)
    if not facts.sockets:
        yield from _none(facts, settings)
        known = _own(settings)
    else:
        yield from _required(facts)
    for problem in addresses.mismatches(settings.command, known) if settings and known else ():
        message, _, write = problem.partition("; ")
        yield Finding(ERROR, facts.service.name, "ExecStart=", message, write)


def _own(settings: Settings | None) -> list[Address]:
    try:
        return [listeners.parse(text)[1] for text in (settings.listen if settings else ())]
    except OperatorError:
        return []  # It does not start, and says so.


def _none(facts: Facts, settings: Settings | None) -> Iterator[Finding]:
    unit = facts.service.name
    name = f"{unit.removesuffix('.service')}.socket"
    if settings and settings.listen:
        message = "no .socket unit keeps the queue: while the service restarts, clients are refused"
        yield Finding(WARNING, unit, "", message, f"write {name} (`sockact init` does)")
    else:
        message = "no .socket unit starts it, so there is no listener"
        yield Finding(ERROR, unit, "", message, f"write {name} (`sockact init` does)")


def _required(facts: Facts) -> Iterator[Finding]:
    service = facts.service
    needed = {*service.words("Requires"), *service.words("BindsTo")}
    for socket in facts.sockets:
        if socket.name not in needed:
            level = WARNING if socket.name in service.words("Wants") else ERROR
            message = f"it starts without {socket.name}, and then has no listener"
            write = f"write Requires={socket.name} and After={socket.name} in [Unit]"
            yield Finding(level, service.name, "", message, write)


def _options(socket: Unit) -> Iterator[Finding]:
    if socket.get("Accept") == "yes":
        message = "systemd accepts the connections itself, and passes no listener"
        yield Finding(ERROR, socket.name, "Accept=yes", message, "write Accept=no")
    if socket.get("FlushPending") == "yes":
        message = "who waits in the queue while the service restarts is thrown out"
        yield Finding(ERROR, socket.name, "FlushPending=yes", message, "write FlushPending=no")
    backlog = socket.get("Backlog")
    if backlog.isdecimal() and int(backlog) < _FEW:
        message = "who comes while nobody accepts may find the queue full"
        now = f"Backlog={backlog}"
        yield Finding(WARNING, socket.name, now, message, "leave it out, or write Backlog=4096")


def addresses_of(socket: Unit) -> tuple[list[Address], list[str]]:
    """What it listens on, and what of it no listener of ours can be."""
    found, strange = [], []
    for line in socket.get("Listen").splitlines():
        text, _, kind = line.rpartition(" (")
        kind = kind.rstrip(")")
        try:
            if kind not in ("Stream", "Datagram"):
                raise OperatorError(kind)
            found.append(listeners.parse(f"udp:{text}" if kind == "Datagram" else text)[1])
        except OperatorError:
            strange.append(line)
    return found, strange


def _state(facts: Facts, socket: Unit, mine: list[Address]) -> Iterator[Finding]:
    """Does systemd hold now what the files say?"""
    restart = f"`systemctl stop {facts.service.name}`, then `systemctl start {socket.name}`"
    if socket.get("NeedDaemonReload") == "yes":
        message = "its file changed on disk, and systemd has not read it again"
        write = f"run `systemctl daemon-reload`, {restart}"
        yield Finding(ERROR, socket.name, "", message, write)
        return
    if not socket.running:
        state = socket.get("ActiveState")
        if facts.service.running:
            message = f"it is {state} while the service runs: a restart finds no listener"
            yield Finding(ERROR, socket.name, "", message, f"run {restart}")
        elif state == "failed":
            message = "it has failed, so nobody listens: clients are refused"
            write = f"run `systemctl status {socket.name}`, mend that, then {restart}"
            yield Finding(ERROR, socket.name, "", message, write)
        elif socket.get("UnitFileState"):  # Or else it is not written yet.
            message = f"it is {state}, so nobody listens: clients are refused"
            write = f"run `systemctl start {socket.name}`"
            if socket.get("UnitFileState") == "disabled":
                write = f"run `systemctl enable --now {socket.name}`"
            yield Finding(WARNING, socket.name, "", message, write)
        return
    missing = [str(address) for address in mine if not held(address)]
    started = socket.get("ActiveEnterTimestamp").removeprefix("@")
    if missing:
        message = f"nobody listens on {', '.join(missing)}: it changed since it was started"
        yield Finding(ERROR, socket.name, "", message, f"run {restart}")
    elif started.isdecimal() and socket.changed > int(started) + 1:
        message = "its file changed since it was started: what changed is not in force"
        yield Finding(WARNING, socket.name, "", message, f"run {restart}")


def _removed(facts: Facts, socket: Unit, mine: list[Address]) -> Iterator[Finding]:
    """Socket files in a folder that goes away with the service."""
    paths = service_units.unix_paths(tuple(a for a in mine if a.kind is Kind.STREAM))
    for path in socket_files.go_away(facts, paths):
        message = "systemd removes RuntimeDirectory= when the service stops, and the socket with it"
        write = f"write ListenStream={facts.runtime}/{os.path.basename(path)}"
        yield Finding(ERROR, socket.name, f"ListenStream={path}", message, write)
