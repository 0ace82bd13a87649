"""`sockact wrap`: puts an existing service under sockact while it is running."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from sockact.cli.options import complete
from sockact.cli.setup.check import examine
from sockact.cli.setup.outcome import describe, failure, start_child
from sockact.cli.starting import run
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import complain, say
from sockact.cli.unit_files import lane_lines, passing, wrapped
from sockact.core.errors import OperatorError
from sockact.core.matching import Family
from sockact.core.settings import Settings
from sockact.supervisor.control import paths
from sockact.systemd import listeners
from sockact.units import facts, unitfile
from sockact.units.check.finding import ERROR
from sockact.units.manager import Manager
from sockact.units.trial import trial_unit
from sockact.units.wrap import (
    differences,
    drop_in,
    marked_files,
    refusals,
    socket_unit,
    unwrapping,
    wrapping,
)
from sockact.units.wrap.outage import Outage
from sockact.units.wrap.service import Service
from sockact.units.wrap.transaction import interruptible
from sockact.units.wrap.wrapping import Texts

if TYPE_CHECKING:
    from sockact.core.matching import Address
    from sockact.units.check.finding import Finding
    from sockact.units.facts import Facts
    from sockact.units.listening_sockets import Bound
    from sockact.units.wrap.service_files import ServiceFiles

_SUFFIXES = ("socket", "timer", "target", "path", "mount", "slice", "scope", "device", "swap")
# Seconds. For systemd's own work, beside the service's timeouts.
_MARGIN = 60.0
_LONGEST = 3600.0


@click.command(
    name="wrap", cls=passing.Verbatim, short_help="Put an existing service under sockact."
)
@click.argument("unit", shell_complete=complete.units)
@click.option(
    "--listen",
    metavar="ADDR",
    multiple=True,
    help="Address to take over, as for `sockact run`. May be repeated.  [default: all addresses "
    "that the service listens on]",
)
@lane_lines.option
@click.option("--user-unit", is_flag=True, help="Wrap a unit of `systemctl --user`.")
@click.option("--dry-run", is_flag=True, help="Show the files without writing them.")
@click.option("--no-restart", is_flag=True, help="Write the files without restarting the service.")
@click.option(
    "--force",
    is_flag=True,
    help="Skip the test start before wrapping, and the test reload afterwards.",
)
def command(unit: str, listen: tuple[str, ...], user_unit: bool, **options: Any) -> None:
    """Put an existing service under sockact, without dropping connections.

    Two files are written: NAME.socket, which takes over the addresses of the service, and a drop-in
    that starts its program with `sockact run`. The service's own file is not changed. If the
    service is running, sockact first starts a second copy of its program as a test, then restarts
    the service and reloads it once. If any step fails, all changes are undone. To undo a wrap, use
    `sockact unwrap`. The other options are those of `sockact run`.

    \b
    Example:
      sockact wrap gunicorn --dry-run
      sockact wrap gunicorn
    """
    run.check_together(options)
    dry_run, no_restart = options.pop("dry_run"), options.pop("no_restart")
    force = options.pop("force")
    manager = Manager(user_unit)
    try:
        found = read(manager, unit)
        files = wrapped.files_of(found.service.name, user_unit=user_unit)
        draft = Draft(Service(manager, files), found, listen, options)
        if dry_run:
            draft.show()
            return
        draft.announce()
        if no_restart or not found.service.running:
            with interruptible():
                wrapping.install(draft.service, draft.texts)
            say(f"{found.service.name}: wrapped; {_next(draft)}")
            return
    except (OperatorError, OSError) as error:
        raise Failure(_explain(error, unit)) from error
    _take_over(draft, force=force)


command.params += passing.OPTIONS


def _next(draft: Draft) -> str:
    systemctl = draft.service.manager.name
    if draft.facts.service.running:
        return f"apply it with `{systemctl} restart {draft.name}` (a reload is not enough)"
    return f"start it with `{systemctl} start {draft.name}`"


def read(manager: Manager, unit: str) -> Facts:
    """The facts of a service, under its own name. Raises OperatorError and UsageError."""
    name = unit if unit.endswith(".service") else f"{unit}.service"
    stem = name.removesuffix(".service")
    if not stem or unit.startswith("-") or "/" in unit or unit.rpartition(".")[2] in _SUFFIXES:
        raise click.UsageError(f"{unit!r} is not a service; write a name such as myapp.service")
    if stem.endswith("@"):
        raise click.UsageError(f"{name} is a template; write an instance, such as {stem}1.service")
    _check_name(stem)
    # The file's own name, if this is an alias.
    own = unitfile.properties(manager.show(name)).get("Id", name)
    _check_name(own.removesuffix(".service"))
    return facts.read(manager, own)


def _check_name(name: str) -> None:
    if not paths.valid_name(name) or ":" in name:
        raise OperatorError(
            f"{name!r} cannot name a service of sockact; use at most {paths.NAME_LIMIT} of "
            f"A-Z a-z 0-9 _ . @ -, not beginning with a dot or a dash"
        )


def _explain(error: Exception, unit: str) -> str:
    if isinstance(error, PermissionError):
        return f"cannot inspect the processes of {unit}; use sudo"
    return str(error)


class Draft:
    """The files to write, and what to tell about them."""

    def __init__(
        self, service: Service, found: Facts, listen: tuple[str, ...], options: dict[str, Any]
    ) -> None:
        """Raises OperatorError, UsageError and OSError if the service cannot be wrapped."""
        self.service, self.facts, self.files = service, found, service.files
        self.name, self.user_unit = self.files.name, service.manager.user
        _refuse(found, self.files)
        self.native = bool(found.sockets)
        self.left: list[Bound] = []
        self.bound: list[Bound] = []
        self.addresses = self._addresses(listen)
        needing = (options[key] for key in ("canary", "warm"))
        self.asks_lanes = lane_lines.are_asked(options["lanes"], *needing)
        self.lanes = self._lanes(options)
        self.label = passing.label(listen)
        times = ("start_timeout", "warm", "warm_timeout", "trial", "drain_timeout", "kill_timeout")
        self.wrap = drop_in.Wrap(
            name=self.name,
            sockact=passing.sockact_command(),
            sockets=tuple(s.name for s in found.sockets) or (self.files.socket,),
            native=self.native,
            socket_paths=tuple(a.host for a in self.addresses),
            options=(*passing.given(), *lane_lines.options(options["listen_lanes"])),
            settings=Settings(self.name, (), **{name: options[name] for name in times}),
            user_unit=self.user_unit,
            changes_user=found.service.is_root and service.has_changed_user(),
        )
        self.texts = Texts(
            "" if self.native else marked_files.marked(self._socket()),
            marked_files.marked(drop_in.render(found, self.wrap, unfinished=True)),
            marked_files.marked(drop_in.render(found, self.wrap)),
            access=unwrapping.own_access(found.service),
            has_lanes=self.lanes > 1 or self.asks_lanes,
        )
        if later := drop_in.overriding(found, self.wrap):
            raise OperatorError(
                f"{self.name} cannot be wrapped: {later}; give that file a name that sorts before "
                f"ours, such as override.conf"
            )
        self.findings = self._check()

    def proven(self) -> Texts:
        """The files to write, with a trial start before and a reload after the restart."""
        text = self.service.manager.cat(self.files.service)
        options = tuple(passing.about_start())
        trial = trial_unit.render(self.facts, self.wrap, self.addresses, options, text)
        needs = trial_unit.needs_listener(trial)
        return replace(self.texts, trial=trial, needs_listener=needs, prove=True)

    def _addresses(self, listen: tuple[str, ...]) -> tuple[Address, ...]:
        if self.native:
            if listen:
                names = ", ".join(socket.name for socket in self.facts.sockets)
                raise click.UsageError(
                    f"--listen is only for services without a .socket unit; this one has {names}"
                )
            known = [socket.addresses()[0] for socket in self.facts.sockets]
            return tuple(address for some in known for address in some)
        wanted = tuple(dict.fromkeys(listeners.parse(text)[1] for text in listen))
        own = []
        if self.facts.service.running:
            own = self.service.bound()
        elif not wanted:
            raise OperatorError(
                f"{self.name} is not running, so its addresses are unknown; start it first, or add "
                f"--listen ADDR, as in --listen 127.0.0.1:8000"
            )
        ports = socket_unit.named_ports(self.facts)
        taken, self.left = socket_unit.choose(own, wanted, ports)
        found = tuple(dict.fromkeys(one.address for one in taken))
        if not found and not wanted:
            raise OperatorError(_no_address(self.name, self.left))
        socket_unit.check_files(taken, wanted, user_unit=self.user_unit)
        self.bound = taken if not wanted or {*found} == {*wanted} else []
        return wanted or found

    def _lanes(self, options: dict[str, Any]) -> int:
        """The lines for each address of NAME.socket."""
        given = options["listen_lanes"]
        if self.native:
            if given:
                names = ", ".join(socket.name for socket in self.facts.sockets)
                raise click.UsageError(
                    f"--listen-lanes is only for services without a .socket unit; write {given} "
                    f"equal lines and ReusePort=yes in {names}"
                )
            return 1
        found = lane_lines.number(
            given,
            self.addresses,
            asked=self.asks_lanes,
            opens=self.facts.service.is_root or self.user_unit,
        )
        socket_unit.check_lanes(self.bound, found)
        return found

    def _socket(self) -> str:
        return socket_unit.text(
            self.name,
            self.addresses,
            self.bound,
            lanes=self.lanes,
            label=self.label,
            user_unit=self.user_unit,
        )

    def _check(self) -> list[Finding]:
        """What `sockact check` will report. Raises OperatorError for an error."""
        loaded = socket_unit.properties(self.addresses, self.lanes)
        ours = facts.Unit(self.files.socket, loaded)
        sockets = self.facts.sockets if self.native else (ours,)
        findings = examine(drop_in.merged(self.facts, self.wrap, sockets))
        errors = [finding for finding in findings if finding.level is ERROR]
        if errors:
            _, _, reason = str(errors[0]).partition(": ")
            raise OperatorError(reason)
        return findings

    def announce(self, *, dry_run: bool = False) -> None:
        """Print who owns the addresses, which files are written, and what is different."""
        addresses, owner = ", ".join(map(str, self.addresses)), ", ".join(self.wrap.sockets)
        owns = "would own" if dry_run else "now owns"
        say(f"{self.files.service}: {owner} {owns} {addresses}")
        for one in self.left:
            say(f"  not taking over {one.address} (use --listen to name the addresses yourself)")
        for path in self.texts_by_path():
            say(f"  {'would write' if dry_run else 'writing'} {path}")
        for line in differences.describe(self.facts, self.wrap):
            say(f"  {line}")
        if self.facts.service.running:
            files = any(one.family is Family.UNIX for one in self.addresses) and not self.native
            say(f"  {differences.wait(self.facts, refused=files)}")
        for finding in self.findings:
            complain(Failure(str(finding)))

    def texts_by_path(self) -> dict[str, str]:
        """Path → text of the files."""
        socket = {self.files.socket_path: self.texts.socket} if self.texts.socket else {}
        return {**socket, self.files.drop_in_path: self.texts.final}

    def show(self) -> None:
        """Print the same as `announce`, and the files."""
        self.announce(dry_run=True)
        for path, text in self.texts_by_path().items():
            say(f"\n# {path}\n{text}", end="")


def _no_address(name: str, left: list[Bound]) -> str:
    if not left:
        return (
            f"{name} has no listening sockets; if it will have one, pass its address, as in "
            f"--listen 127.0.0.1:8000"
        )
    options = " ".join(dict.fromkeys(f"--listen {one.address}" for one in left))
    return (
        f"{name} has only listening sockets for internal use, or on ephemeral ports; to take them "
        f"over, add {options}"
    )


def _refuse(found: Facts, files: ServiceFiles) -> None:
    name = files.service
    if files.unfinished() and (why := wrapped.unfinished(files.name)):
        raise OperatorError(f"{name}: {why}, then wrap it again")
    if marked_files.read(files.drop_in_path):
        raise OperatorError(
            f"{name} is already wrapped; to change its options, run `sockact unwrap {name}` first"
        )
    if why := refusals.find_reason(found):
        raise OperatorError(f"{name} cannot be wrapped: {why}")
    for path in (files.drop_in_path, *(() if found.sockets else (files.socket_path,))):
        if os.path.lexists(path):
            raise OperatorError(
                f"{path} exists, and was not written by `sockact wrap`; move it elsewhere"
            )


def _take_over(draft: Draft, *, force: bool) -> None:
    name, limit = draft.files.service, drop_in.start_limit(draft.facts, draft.wrap)
    needs = draft.facts.service.span("TimeoutStopUSec") + limit
    manager = Manager(draft.user_unit, min(needs + _MARGIN, _LONGEST))
    service = Service(manager, draft.files, draft.facts.service)
    most = f" (up to {unitfile.readable_span(math.ceil(limit))})" if math.isfinite(limit) else ""
    say(f"{name}: waiting for the program to start under sockact{most}")
    texts = draft.texts if force else draft.proven()
    outage = Outage(draft.addresses)

    def tell(what: str) -> None:
        say(f"{name}: {what}")

    start_child(draft.name, user_unit=draft.user_unit)
    try:
        with interruptible():
            outcome = wrapping.wrap(service, texts, outage, draft.bound, tell)
    except OperatorError as error:
        raise failure(error, "all changes were undone", outage) from error
    say(f"{name}: wrapped; {describe(outcome)}")
