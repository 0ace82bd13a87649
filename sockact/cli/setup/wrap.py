"""`sockact wrap`: a service that is there already is run by sockact, and taken over as it runs."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import click

from sockact.cli.failures import Failure
from sockact.cli.options import complete, probes
from sockact.cli.output import complain
from sockact.cli.setup.check import examine
from sockact.cli.unit_files import passing, wrapped
from sockact.core.errors import OperatorError
from sockact.core.settings import Settings
from sockact.supervisor.control import paths
from sockact.systemd import listeners
from sockact.units import facts, unitfile
from sockact.units.check import sockets
from sockact.units.check.check import Level
from sockact.units.manager import Manager
from sockact.units.wrap import (
    marks,
    migration,
    notes,
    places,
    refusals,
    running_service,
    socket_unit,
    takeover,
)
from sockact.units.wrap.migration import Texts
from sockact.units.wrap.outage import Outage
from sockact.units.wrap.undoing import NotRestored, Quoting, in_a_child, interruptible

if TYPE_CHECKING:
    from sockact.core.matching import Address
    from sockact.units.check.check import Finding
    from sockact.units.facts import Facts
    from sockact.units.listening import Bound
    from sockact.units.wrap.places import Place

_SUFFIXES = ("socket", "timer", "target", "path", "mount", "slice", "scope", "device", "swap")
# What systemd's own work takes, beside that of the programs.
_MARGIN = 60.0
_LONGEST = 3600.0


@click.command(
    name="wrap", cls=passing.Verbatim, short_help="Let sockact run a service that is there."
)
@click.argument("unit", shell_complete=complete.units)
@click.option(
    "--listen",
    metavar="ADDR",
    multiple=True,
    help="Where it listens, as for `sockact run`; may be repeated.  [default: where it does now]",
)
@click.option("--user-unit", is_flag=True, help="A unit of `systemctl --user`.")
@click.option("--dry-run", is_flag=True, help="Only show what would be written.")
@click.option("--no-restart", is_flag=True, help="Only write the files.")
def command(unit: str, listen: tuple[str, ...], user_unit: bool, **options: Any) -> None:
    """Put `sockact run` around the program of a service, and hand its addresses to systemd.

    A .socket unit and a drop-in are written; the service's own file stays as it is. When it runs,
    the wrapped program takes over. `sockact unwrap` takes all of it back. The other options are
    those of `sockact run`.
    """
    probes.check_together(options)
    dry_run, no_restart = options.pop("dry_run"), options.pop("no_restart")
    manager = Manager(user_unit)
    try:
        found = read(manager, unit)
        place = wrapped.place_of(found.service.name, user_unit=user_unit)
        wrap = Draft(manager, found, place, listen, options)
        if dry_run:
            wrap.show()
            return
        wrap.announce()
        if no_restart or not found.service.running:
            with interruptible():
                migration.install(manager, place, wrap.texts)
            click.echo(f"{found.service.name}: wrapped; {_next(wrap, manager)}")
            return
    except (OperatorError, OSError, ValueError) as error:
        raise Failure(_explain(error, unit)) from error
    _migrate(wrap)


command.params += passing.OPTIONS


def _next(wrap: Draft, manager: Manager) -> str:
    name = wrap.facts.service.name.removesuffix(".service")
    if wrap.facts.service.running:
        # The wrap is what it stops by, from now on.
        return f"it takes effect with `{manager.name} restart {name}`, and not with a reload"
    return f"next: `{manager.name} start {name}`"


def read(manager: Manager, unit: str) -> Facts:
    """What systemd says of a service, by its own name. Raises OperatorError and UsageError."""
    name = unit if unit.endswith(".service") else f"{unit}.service"
    stem = name.removesuffix(".service")
    if not stem or unit.startswith("-") or "/" in unit or unit.rpartition(".")[2] in _SUFFIXES:
        raise click.UsageError(f"{unit!r} is no service: write a name such as myapp.service")
    if stem.endswith("@"):
        raise click.UsageError(f"{name} is a template: name an instance, such as {stem}1.service")
    _check_name(stem)
    # The file's own name, if this is an alias.
    own = unitfile.properties(manager.show(name)).get("Id", name)
    _check_name(own.removesuffix(".service"))
    return facts.read(manager, own)


def _check_name(name: str) -> None:
    if not paths.valid_name(name) or ":" in name:
        raise OperatorError(
            f"{name}.service cannot name a service of sockact: use at most {paths.NAME_LIMIT} of "
            f"A-Z a-z 0-9 _ . @ - without a dot or a dash in front"
        )


def _explain(error: Exception, unit: str) -> str:
    if isinstance(error, PermissionError):
        return f"cannot look at the processes of {unit}: use sudo"
    return str(error)


class Draft:
    """All that is going to be written, and why."""

    def __init__(
        self,
        manager: Manager,
        found: Facts,
        place: Place,
        listen: tuple[str, ...],
        options: dict[str, Any],
    ) -> None:
        """Raises OperatorError, UsageError and OSError when it cannot be."""
        self.manager, self.facts, self.place = manager, found, place
        self.name = found.service.name.removesuffix(".service")
        _refuse(found, place)
        self.native = bool(found.sockets)
        self.left: list[Bound] = []
        self.bound: list[Bound] = []
        self.addresses = self._addresses(listen)
        self.label = passing.label(listen)
        times = ("start_timeout", "trial", "drain_timeout", "kill_timeout")
        self.wrap = takeover.Wrap(
            name=self.name,
            sockact=passing.sockact_command(),
            sockets=tuple(s.name for s in found.sockets) or (place.socket,),
            native=self.native,
            kept=tuple(a.host for a in self.addresses),
            options=tuple(passing.given()),
            settings=Settings(self.name, (), **{name: options[name] for name in times}),
            user_unit=self.manager.user,
        )
        self.texts = Texts(
            "" if self.native else marks.marked(self._socket()),
            marks.marked(takeover.drop_in(found, self.wrap, leaving=True)),
            marks.marked(takeover.drop_in(found, self.wrap)),
        )
        if later := takeover.overriding(found, self.wrap):
            raise OperatorError(
                f"{self.name} cannot be wrapped: {later}: give that file a name that sorts before "
                f"ours, such as override.conf"
            )
        self.findings = self._check()

    def _addresses(self, listen: tuple[str, ...]) -> tuple[Address, ...]:
        if self.native:
            if listen:
                names = ", ".join(socket.name for socket in self.facts.sockets)
                raise click.UsageError(f"--listen is for a service without a socket: has {names}")
            known = [sockets.addresses_of(socket)[0] for socket in self.facts.sockets]
            return tuple(address for some in known for address in some)
        wanted = tuple(dict.fromkeys(listeners.parse(text)[1] for text in listen))
        own = []
        if self.facts.service.running:
            own = running_service.sockets(self.manager, self.place)
        elif not wanted:
            raise OperatorError(
                f"{self.name} does not run, so its addresses cannot be seen: "
                f"write them, as in --listen 127.0.0.1:8000, or start it first"
            )
        ports = socket_unit.named_ports(self.facts)
        kept, self.left = socket_unit.choose(own, wanted, ports)
        found = tuple(dict.fromkeys(one.address for one in kept))
        if not found and not wanted:
            raise OperatorError(_nowhere(self.name, self.left))
        socket_unit.check_files(kept, wanted, user_unit=self.manager.user)
        self.bound = kept if not wanted or {*found} == {*wanted} else []
        return wanted or found

    def _socket(self) -> str:
        return socket_unit.text(
            self.name, self.addresses, self.bound, label=self.label, user_unit=self.manager.user
        )

    def _check(self) -> list[Finding]:
        """What `sockact check` is going to say. Raises OperatorError for an error."""
        lines = "\n".join(map(socket_unit.listen_line, self.addresses))
        ours = facts.Unit(self.place.socket, {"ActiveState": "inactive", "Listen": lines})
        sockets = self.facts.sockets if self.native else (ours,)
        findings = examine(takeover.merged(self.facts, self.wrap, sockets))
        errors = [finding for finding in findings if finding.level is Level.ERROR]
        if errors:
            _, _, reason = str(errors[0]).partition(": ")
            raise OperatorError(reason)
        return findings

    def announce(self, *, dry_run: bool = False) -> None:
        """What it listens on, what is written, and what changes."""
        where = ", ".join(map(str, self.addresses))
        holder = ", ".join(self.wrap.sockets)
        name = self.facts.service.name
        would = f"would be {holder}'s" if dry_run else f"is {holder}'s from now on"
        click.echo(f"{name}: {where} {would}")
        for one in self.left:
            click.echo(f"  leaves {one.address} alone (--listen names all that count)")
        for path in self.files():
            click.echo(f"  {'would write' if dry_run else 'writes'} {path}")
        for line in notes.changes(self.facts, self.wrap):
            click.echo(f"  {line}")
        for finding in self.findings:
            complain(Failure(str(finding)))

    def files(self) -> dict[str, str]:
        """Path → text."""
        socket = {self.place.socket_path: self.texts.socket} if self.texts.socket else {}
        return {**socket, self.place.drop_in_path: self.texts.final}

    def show(self) -> None:
        """All, with the texts."""
        self.announce(dry_run=True)
        for path, text in self.files().items():
            click.echo(f"\n# {path}\n{text}", nl=False)


def _nowhere(name: str, left: list[Bound]) -> str:
    if not left:
        return (
            f"the processes of {name} listen nowhere: write --listen ADDR if they will, as in "
            f"--listen 127.0.0.1:8000"
        )
    listens = " ".join(dict.fromkeys(f"--listen {one.address}" for one in left))
    return (
        f"{name} listens only where programs do for their own ends, or on ports of the range from "
        f"which the kernel chooses at each start: if these count, add {listens}"
    )


def _refuse(found: Facts, place: Place) -> None:
    name = found.service.name
    if places.unfinished(place) and (why := wrapped.unfinished(place.name)):
        raise OperatorError(f"{name}: {why}; wrap it again then")
    if places.ours(place.drop_in_path):
        raise OperatorError(
            f"{name} is wrapped already: for other options `sockact unwrap {name}` first"
        )
    if why := refusals.refusal(found):
        raise OperatorError(f"{name} cannot be wrapped: {why}")
    paths = (place.drop_in_path, *(() if found.sockets else (place.socket_path,)))
    for path in paths:
        if os.path.lexists(path):
            raise OperatorError(f"{path} is there, and not ours: move it away")


def _migrate(wrap: Draft) -> None:
    service = wrap.facts.service
    needs = service.span("TimeoutStopUSec") + takeover.start_limit(wrap.facts, wrap.wrap)
    manager = Manager(wrap.manager.user, min(needs + _MARGIN, _LONGEST))
    limit = unitfile.span(math.ceil(takeover.start_limit(wrap.facts, wrap.wrap)))
    click.echo(f"{service.name}: waits for the program to serve under sockact, {limit} at the most")
    outage = Outage(wrap.addresses)
    split(wrap.name, user_unit=wrap.manager.user)
    try:
        with interruptible():
            done = migration.wrap(manager, wrap.place, wrap.texts, outage, wrap.bound)
    except OperatorError as error:
        raise failure(error, "it is as it was", outage) from error
    click.echo(f"{service.name}: wrapped; {told(done)}")


def split(name: str, *, user_unit: bool) -> None:
    """What follows is taken back even if this process is killed."""
    try:
        in_a_child(f"{'--user-unit ' if user_unit else ''}{name}")
    except OperatorError as error:
        raise Failure(str(error)) from error


def failure(error: OperatorError, now: str, outage: Outage) -> Failure:
    """What went wrong, how things stand now, what clients met, and what the service said before it
    gave up.
    """
    lines = error.lines if isinstance(error, Quoting) else ()
    met = _unheard(outage.seconds)
    if outage.cut_off:
        who = "1 client" if outage.cut_off == 1 else f"{outage.cut_off} clients"
        met.append(f"{who} that waited in a queue that had to be closed: cut off")
    restored = [] if isinstance(error, NotRestored) else [now]
    return Failure("; ".join([str(error), *restored, *met]), lines)


def _unheard(seconds: float | None) -> list[str]:
    if seconds is None:
        return ["how long nobody listened could not be measured"]
    if seconds:
        return [f"nobody listened for {seconds:.2f} s: who came just then was refused"]
    return []


def told(done: migration.Done) -> str:
    """What clients met."""
    last = f"new ones waited, {done.waited:.2f} s at the most"
    if done.put_off:
        last = f"for {done.waited:.2f} s new ones were put off, and tried again"
    met = _unheard(done.refused)
    if done.cut_off:
        met.append("who still waited in the queue that was closed may have been cut off")
    return "; ".join([*(met or ["no client was refused"]), last])
