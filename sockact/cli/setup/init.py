"""`sockact init`: a .socket and a .service unit for a program, shown, written and enabled."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from sockact.cli.failures import Failure
from sockact.cli.options import complete, probes
from sockact.cli.options.values import check_name
from sockact.cli.output import complain
from sockact.cli.unit_files import passing, wanted, wrapped
from sockact.cli.unit_files.files import check_free, write_all
from sockact.core.errors import OperatorError
from sockact.systemd import listeners
from sockact.units import addresses, listening
from sockact.units.manager import Manager
from sockact.units.render import logrotate, path_unit, service_units
from sockact.units.unitfile import command_line, escape_value

if TYPE_CHECKING:
    from sockact.core.matching import Address

_JITS = ("node", "java", "pypy", "dotnet", "deno", "bun", "ruby", "luajit", "php", "erl", "beam")


@click.command(
    name="init",
    cls=passing.Verbatim,
    context_settings={"allow_interspersed_args": True},
    options_metavar="",
    short_help="Write the units of a service.",
)
@click.argument("name", callback=check_name, metavar="NAME --listen ADDR... [OPTIONS] --")
@click.option(
    "--config",
    metavar="FILE",
    type=click.Path(),
    help="Run what FILE says, or /etc/sockact/FILE.toml, in the place of PROGRAM.",
)
@click.option(
    "--listen",
    metavar="ADDR",
    multiple=True,
    help="Where it listens, [NAME=]ADDR as for `sockact run`; may be repeated.  [default: as FILE "
    "says]",
)
@click.option(
    "--user", metavar="USER", help="Whom it runs as.  [default: NAME, made by systemd if missing]"
)
@click.option(
    "--directory",
    metavar="DIR",
    type=click.Path(exists=True, file_okay=False),
    help="Where PROGRAM runs, looked up anew at each reload.  [default: /]",
)
@click.option(
    "--env-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Variables for PROGRAM, read when the service starts.",
)
@click.option(
    "--path-unit",
    is_flag=True,
    help="Write NAME.path for what --watch names, instead of watching it ourselves.",
)
@click.option("--user-unit", is_flag=True, help="For `systemctl --user`.")
@click.option("--dry-run", is_flag=True, help="Only show the units.")
@click.option("--enable", is_flag=True, help="Enable and start the socket.")
@click.option("--force", is_flag=True, help="Overwrite units that are there.")
@click.argument(
    "program",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="PROGRAM [ARG]...",
    shell_complete=complete.program,
)
def command(name: str, listen: tuple[str, ...], program: tuple[str, ...], **options: Any) -> None:
    """Write NAME.socket and NAME.service, which run PROGRAM so that it can be reloaded.

    They go to /etc/systemd/system, or with --user-unit to ~/.config/systemd/user. Nothing is
    overwritten without --force. The other options are those of `sockact run`.
    """
    _check_together(listen, program, options)
    try:
        config = options["config"]
        found = wanted.of_file(name, listen, options) if config else None
        found = found or wanted.of_words(name, listen, program, options)
        plan = _plan(name, found, options)
        texts = {
            f"{name}.socket": service_units.socket(plan),
            f"{name}.service": service_units.service(plan),
        }
        rotation = _rotation(plan)
        if options["path_unit"]:
            user_unit = options["user_unit"]
            texts |= path_unit.files(name, options["watch"], user_unit=user_unit)
    except (OperatorError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    for problem in (*addresses.mismatches(found.command, plan.addresses), *_hidden(found, plan)):
        complain(Failure(f"warning: {problem}"))
    folder = wrapped.unit_folder(user_unit=options["user_unit"])
    _show({folder: texts, logrotate.FOLDER: rotation})
    if not options["dry_run"]:
        if not options["force"]:
            _refuse_to_hide(texts, user_unit=options["user_unit"])
        check_free(logrotate.FOLDER, rotation, force=options["force"])
        write_all(folder, texts, force=options["force"])
        if rotation:
            write_all(logrotate.FOLDER, rotation, force=options["force"])
        _tell_systemd(name, options, plan)


command.params[-1:-1] = passing.OPTIONS


def _check_together(
    listen: tuple[str, ...], program: tuple[str, ...], options: dict[str, Any]
) -> None:
    """Raises UsageError."""
    if options["path_unit"] and not options["watch"]:
        raise click.UsageError("--path-unit watches what --watch names: add --watch PATH")
    if not options["config"]:
        if not listen:
            raise click.UsageError("missing option '--listen'")
        probes.check_together(options)
    elif program:
        raise click.UsageError(f"the program is in {options['config']}: leave it out here")


def _plan(name: str, found: wanted.Wanted, options: dict[str, Any]) -> service_units.Plan:
    """What to write. Raises OperatorError or ValueError."""
    _check_unit_name(name)
    parsed = [listeners.parse(text) for text in found.listen]
    where = tuple(address for _, address in parsed)
    if len(set(where)) < len(where):
        raise OperatorError("--listen: an address is there twice; write it once")
    user = _user(options["user"], where, user_unit=options["user_unit"])
    env_file = os.path.abspath(options["env_file"]) if options["env_file"] else ""
    if re.search(r"[*?\[\\]", env_file):
        raise OperatorError(
            f"--env-file {env_file}: systemd takes * ? [ \\ for patterns; rename it"
        )
    sockact, program = passing.sockact_command(), found.command[0]
    others = (sockact, sys.executable, found.directory, env_file, found.config, found.release)
    plan = service_units.Plan(
        name=name,
        start=command_line((sockact, "run", *found.start)),
        reload=command_line((sockact, "reload", name)),
        addresses=where,
        label=passing.label(found.listen),
        user=user,
        env_file=escape_value(env_file),
        paths=with_targets(program, *others),
        logs=_logs(found.logs, user, user_unit=options["user_unit"]),
        user_unit=options["user_unit"],
        jit=os.path.basename(_interpreter(program)).startswith(_JITS),
        start_timeout=found.times.start_timeout,
        trial=found.times.trial,
        drain_timeout=found.times.drain_timeout,
        kill_timeout=found.times.kill_timeout,
    )
    _check_socket_files(plan)
    return plan


def _hidden(found: wanted.Wanted, plan: service_units.Plan) -> list[str]:
    """Whether the service's user cannot read the configuration file: at the start it is late."""
    if not found.config or plan.user_unit:
        return []
    import grp
    import pwd

    mode = os.stat(found.config)
    if mode.st_mode & 0o004:
        return []
    if plan.user:
        user = pwd.getpwnam(plan.user)
        group = user.pw_gid == mode.st_gid or plan.user in grp.getgrgid(mode.st_gid).gr_mem
        if (user.pw_uid == mode.st_uid and mode.st_mode & 0o400) or (group and mode.st_mode & 0o40):
            return []
        to = f"`chgrp {plan.user} {found.config} && chmod g+r {found.config}`"
    else:
        to = f"`chmod o+r {found.config}`, or --user USER and a group of that user"
    return [f"{found.config}: the service may not read it: {to}"]


def _logs(paths: tuple[str, ...], user: str, *, user_unit: bool) -> tuple[str, ...]:
    """The files of --log and --log-stderr, each once."""
    found = tuple(dict.fromkeys(filter(None, paths)))
    for path in found:
        if os.path.dirname(path) == "/var/log" and user != "root" and not user_unit:
            raise OperatorError(
                f"--log {path}: only root may make files there; write "
                f"/var/log/NAME/{os.path.basename(path)}, a directory that systemd makes"
            )
    return found


def _rotation(plan: service_units.Plan) -> dict[str, str]:
    """What tells logrotate of the logs, by the name of its file; nothing for a user's units."""
    logs = tuple(path for path in plan.logs if not path.startswith("/dev/"))
    if not logs or plan.user_unit:
        return {}
    owner = _owner(plan.user) if plan.user not in ("", "root") else None
    text = logrotate.snippet(plan.name, logs, passing.sockact_command(), owner)
    return {logrotate.file_name(plan.name): text}


def _owner(user: str) -> tuple[str, str]:
    import grp
    import pwd

    group = pwd.getpwnam(user).pw_gid
    try:
        return user, grp.getgrgid(group).gr_name
    except KeyError:
        return user, str(group)


def _check_unit_name(name: str) -> None:
    if name.endswith((".service", ".socket")):
        stem = name.rpartition(".")[0]
        raise OperatorError(f"{name}: both units are named after it: write {stem}")
    if name.endswith("@"):
        raise OperatorError(f"{name} would be a template: write an instance, such as {name}1")
    if ":" in name:
        raise OperatorError(f"{name}: RuntimeDirectory= has no place for a colon; use a dash")


def _check_socket_files(plan: service_units.Plan) -> None:
    for path in service_units.unix_paths(plan.addresses):
        if f"/sockact/{plan.name}/" in os.path.normpath(path):
            raise OperatorError(
                f"--listen {path}: systemd removes that folder when the service stops; "
                f"write for example /run/{plan.name}.sock"
            )


def _user(user: str | None, found: tuple[Address, ...], *, user_unit: bool) -> str:
    if user_unit and user:
        raise OperatorError("--user is for system units: --user-unit runs as its own user")
    if not user:
        if service_units.unix_paths(found) and not user_unit:
            raise OperatorError("a Unix socket needs an owner that exists: add --user USER")
        return ""
    import pwd

    try:
        pwd.getpwnam(user)
    except (KeyError, ValueError) as error:
        raise OperatorError(
            f"there is no user {user}: `useradd --system {user}` makes one, "
            f"and without --user systemd does"
        ) from error
    return user


def with_targets(program: str, *others: str) -> tuple[str, ...]:
    """All files that have to be seen, with what their symbolic links lead to."""
    paths = (program, _interpreter(program), *filter(None, others))
    return (*paths, *map(os.path.realpath, paths))


def _interpreter(path: str) -> str:
    """What executes the file: as its #! line has it, or the file itself."""
    try:
        with open(path, "rb") as file:
            line = os.fsdecode(file.readline(256))
    except OSError:
        line = ""
    words = line[2:].split() if line.startswith("#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return words[0] if words else os.path.realpath(path)


def _refuse_to_hide(texts: dict[str, str], *, user_unit: bool) -> None:
    """A unit of a package is not overwritten by one in our folder, but it no longer counts."""
    for base in ("/run", "/usr/local/lib", "/usr/lib", "/lib"):
        for name in texts:
            path = os.path.join(base, "systemd", "user" if user_unit else "system", name)
            if os.path.lexists(path):
                raise click.UsageError(
                    f"{path} exists, and would be hidden: choose another name, or add --force"
                )


def _show(folders: dict[str, dict[str, str]]) -> None:
    blocks = [
        f"# {os.path.join(folder, name)}\n{text}"
        for folder, texts in folders.items()
        for name, text in texts.items()
    ]
    click.echo("\n".join(blocks), nl=False)


def _tell_systemd(name: str, options: dict[str, Any], plan: service_units.Plan) -> None:
    manager = Manager(options["user_unit"])
    enable = ("enable", "--now", f"{name}.socket")
    also = [("enable", f"{name}.path")] if options["path_unit"] else []
    taken: list[str] = []
    try:
        manager.call("daemon-reload")
        if options["enable"]:
            taken = [str(address) for address in plan.addresses if listening.held(address)]
            for words in (enable, *also):
                manager.call(*words)
    except OperatorError as error:
        why = str(error)
        if taken:
            why = (
                f"{name}.socket cannot listen on {', '.join(taken)}: somebody else does (`ss "
                f"-lntuxp` says who); end that, then `{manager.name} {' '.join(enable)}`, or write "
                f"another --listen, and add --force"
            )
        raise Failure(f"the units of {name} are written, but {why}") from error
    after = f"{manager.name} start {name}"
    if not options["enable"]:
        first = [f"{manager.name} {' '.join(words)}" for words in (enable, *also)]
        after = "`, then `".join([*first, after])
    if plan.user_unit and plan.logs:
        click.echo(
            f"\n{name}: the system's logrotate leaves its log alone; one of your own calls "
            f"`sockact rotate {name}` in its postrotate"
        )
    click.echo(f"\n{name}: written; next: `{after}`, and `{manager.name} reload {name}` ever after")
