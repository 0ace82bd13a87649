"""`sockact init`: prints, writes and enables the units of a service."""

from __future__ import annotations

import os
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from sockact.cli.options import complete
from sockact.cli.options.values import check_name, directory_option
from sockact.cli.setup import access, enabling, removing
from sockact.cli.starting import run
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import complain, say
from sockact.cli.unit_files import lane_lines, passing, wanted, wrapped
from sockact.cli.unit_files.files import check_free, write_all
from sockact.core.errors import OperatorError
from sockact.systemd import listeners
from sockact.units import program_addresses
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
    help="Read the program and its options from FILE, or from /etc/sockact/FILE.toml.",
)
@click.option(
    "--listen",
    metavar="ADDR",
    multiple=True,
    help="Address to listen on, [NAME=]ADDR as for `sockact run`. May be repeated.  [default: from "
    "FILE]",
)
@click.option(
    "--user",
    metavar="USER",
    help="User to run the service as.  [default: NAME, created by systemd if missing]",
)
@lane_lines.option
@directory_option("/")
@click.option(
    "--env-file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="File with environment variables for PROGRAM, read when the service starts.",
)
@click.option(
    "--path-unit",
    is_flag=True,
    help="Also write NAME.path, so that systemd watches the --watch paths.",
)
@click.option("--user-unit", is_flag=True, help="Write units for `systemctl --user`.")
@click.option("--dry-run", is_flag=True, help="Show the units without writing them.")
@click.option(
    "--enable", is_flag=True, help="Enable the socket and the service, and start the socket."
)
@click.option("--remove", is_flag=True, help="Stop the service NAME and remove its units.")
@click.option("--force", is_flag=True, help="Overwrite existing units.")
@click.argument(
    "program",
    nargs=-1,
    type=click.UNPROCESSED,
    metavar="PROGRAM [ARG]...",
    shell_complete=complete.program,
)
def command(name: str, listen: tuple[str, ...], program: tuple[str, ...], **options: Any) -> None:
    """Write the units NAME.socket and NAME.service, which run PROGRAM under sockact.

    The units go to /etc/systemd/system, or to ~/.config/systemd/user with --user-unit. Existing
    units are overwritten only with --force. --remove undoes all of this. The other options are
    those of `sockact run`.

    \b
    Example:
      sockact init myapp --listen 127.0.0.1:8000 --enable \\
          -- /srv/myapp/venv/bin/gunicorn --bind 127.0.0.1:8000 app:app
    """
    if options["remove"]:
        if listen or program:
            raise click.UsageError("--remove takes only NAME; leave --listen and PROGRAM out")
        removing.remove(name, user_unit=options["user_unit"], dry_run=options["dry_run"])
        return
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
    except OperatorError as error:
        raise click.UsageError(str(error)) from error
    for problem in (
        *program_addresses.mismatches(found.command, plan.addresses),
        *_relative_logs(),
        *_unusable(found, plan),
    ):
        complain(Failure(f"warning: {problem}"))
    directory = wrapped.unit_directory(user_unit=options["user_unit"])
    _show({directory: texts, logrotate.DIRECTORY: rotation})
    if not options["dry_run"]:
        if not options["force"]:
            _refuse_to_override(texts, user_unit=options["user_unit"])
        check_free(logrotate.DIRECTORY, rotation, force=options["force"])
        write_all(directory, texts, force=options["force"])
        if rotation:
            write_all(logrotate.DIRECTORY, rotation, force=options["force"])
        enabling.tell_systemd(name, options, plan, [*texts])


command.params[-1:-1] = passing.OPTIONS


def _check_together(
    listen: tuple[str, ...], program: tuple[str, ...], options: dict[str, Any]
) -> None:
    """Raises UsageError."""
    if options["path_unit"] and not options["watch"]:
        raise click.UsageError("--path-unit watches the paths of --watch; add --watch PATH")
    if not options["config"]:
        if not listen:
            raise click.UsageError("missing option '--listen'")
        run.check_together(options)
    elif program:
        raise click.UsageError(f"the program is in {options['config']}; leave it out here")


def _relative_logs() -> list[str]:
    """Warnings of paths that depend on where this command runs, not on where the service does."""
    return [
        f"{option} {path} is relative; the unit uses {os.path.abspath(path)}"
        for option, path in passing.logs().items()
        if not os.path.isabs(path)
    ]


def _plan(name: str, found: wanted.Wanted, options: dict[str, Any]) -> service_units.Plan:
    """The units to write. Raises OperatorError."""
    _check_unit_name(name)
    parsed = [listeners.parse(text) for text in found.listen]
    where = tuple(address for _, address in parsed)
    if len(set(where)) < len(where):
        raise OperatorError("--listen: the same address is given twice; give it once")
    user = _user(options["user"], where, user_unit=options["user_unit"])
    env_file = os.path.abspath(options["env_file"]) if options["env_file"] else ""
    if re.search(r"[*?\[\\]", env_file):
        raise OperatorError(
            f"--env-file {env_file}: systemd reads * ? [ \\ as patterns; rename the file"
        )
    sockact, program = passing.sockact_command(), found.command[0]
    others = (sockact, sys.executable, found.directory, env_file, found.config, found.release)
    plan = service_units.Plan(
        name=name,
        start=command_line((sockact, "run", *found.start)),
        reload=command_line((sockact, "reload", name)),
        addresses=where,
        lanes=lane_lines.number(
            options["listen_lanes"],
            where,
            asked=lane_lines.are_asked(found.times.lanes, found.times.canary, found.times.warm),
            opens=user == "root" or options["user_unit"],
        ),
        label=passing.label(found.listen),
        user=user,
        env_file=escape_value(env_file),
        paths=with_targets(program, *others),
        logs=_logs(found.logs, user, user_unit=options["user_unit"]),
        user_unit=options["user_unit"],
        jit=os.path.basename(_interpreter(program)).startswith(_JITS),
        times=found.times,
    )
    _check_socket_files(plan)
    return plan


def _unusable(found: wanted.Wanted, plan: service_units.Plan) -> list[str]:
    """Warnings of files that the service's user cannot use."""
    if plan.user_unit:
        return []
    who = access.account(plan.user)
    needed = [(found.command[0], os.R_OK | os.X_OK), (found.directory, os.R_OK | os.X_OK)]
    needed += [(found.config, os.R_OK)]
    problems = (access.problem(path, who, wanted) for path, wanted in needed if path)
    return list(filter(None, problems))


def _logs(paths: tuple[str, ...], user: str, *, user_unit: bool) -> tuple[str, ...]:
    """The files of --log and --log-stderr, without duplicates."""
    found = tuple(dict.fromkeys(filter(None, paths)))
    for path in found:
        if os.path.dirname(path) == "/":
            raise OperatorError(
                f"--log {path}: the service would have to write to the whole file system; write "
                f"/var/log/NAME{path} (systemd creates the directory)"
            )
        if os.path.dirname(path) == "/var/log" and user != "root" and not user_unit:
            raise OperatorError(
                f"--log {path}: only root may create files there; write "
                f"/var/log/NAME/{os.path.basename(path)} (systemd creates the directory)"
            )
    return found


def _rotation(plan: service_units.Plan) -> dict[str, str]:
    """File name → logrotate snippet; empty for user units, which logrotate does not handle."""
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
        raise OperatorError(f"{name}: both units are named after the service; write {stem}")
    if name.endswith("@"):
        raise OperatorError(f"{name} would be a template; write an instance, such as {name}1")
    if ":" in name:
        raise OperatorError(f"{name}: RuntimeDirectory= cannot contain a colon; use a dash")


def _check_socket_files(plan: service_units.Plan) -> None:
    for path in service_units.unix_paths(plan.addresses):
        if f"/sockact/{plan.name}/" in os.path.normpath(path):
            raise OperatorError(
                f"--listen {path}: systemd removes this directory when the service stops; "
                f"use a path such as /run/{plan.name}.sock"
            )


def _user(user: str | None, found: tuple[Address, ...], *, user_unit: bool) -> str:
    if user_unit and user:
        raise OperatorError("--user is for system units; a --user-unit runs as its own user")
    if not user:
        if service_units.unix_paths(found) and not user_unit:
            raise OperatorError("a Unix socket needs an owner that exists; add --user USER")
        return ""
    import pwd

    try:
        pwd.getpwnam(user)
    except (KeyError, ValueError) as error:
        raise OperatorError(
            f"there is no user {user}; create it with `useradd --system {user}`, "
            f"or remove --user to let systemd create one"
        ) from error
    return user


def with_targets(program: str, *others: str) -> tuple[str, ...]:
    """All files that the service must see, with the targets of symbolic links."""
    paths = (program, _interpreter(program), *filter(None, others))
    return (*paths, *map(os.path.realpath, paths))


def _interpreter(path: str) -> str:
    """The interpreter in the #! line of a file, or the file itself."""
    try:
        with open(path, "rb") as file:
            line = os.fsdecode(file.readline(256))
    except OSError:
        line = ""
    words = line[2:].split() if line.startswith("#!") else []
    if words and os.path.basename(words[0]) == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    return words[0] if words else os.path.realpath(path)


def _refuse_to_override(texts: dict[str, str], *, user_unit: bool) -> None:
    """Raises UsageError for a unit of a package, which a unit in our directory would override."""
    for base in ("/run", "/usr/local/lib", "/usr/lib", "/lib"):
        for name in texts:
            path = os.path.join(base, "systemd", "user" if user_unit else "system", name)
            if os.path.lexists(path):
                raise click.UsageError(
                    f"{path} exists and would be overridden; choose another name, or add --force"
                )


def _show(directories: dict[str, dict[str, str]]) -> None:
    blocks = [
        f"# {os.path.join(directory, name)}\n{text}"
        for directory, texts in directories.items()
        for name, text in texts.items()
    ]
    say("\n".join(blocks), end="")
