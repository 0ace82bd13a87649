"""`sockact init`: a .socket and a .service unit for a program, shown, written and enabled."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

import click

from sockact.cli import complete, passing, probes
from sockact.cli.files import check_free, write_all
from sockact.cli.main import Failure, complain
from sockact.cli.options import check_name
from sockact.core.errors import OperatorError
from sockact.systemd import addresses, listeners, listening, logrotate, units
from sockact.systemd.manager import Manager
from sockact.systemd.unitfile import command_line, escape_value

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
    "--listen",
    metavar="ADDR",
    multiple=True,
    required=True,
    help="Where it listens, [NAME=]ADDR as for `sockact run`; may be repeated.",
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
    probes.check_together(options)
    try:
        plan, command_words = _plan(name, listen, program, options)
        texts = {f"{name}.socket": units.socket(plan), f"{name}.service": units.service(plan)}
        rotation = _rotation(plan)
    except (OperatorError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    for problem in addresses.mismatches(command_words, plan.addresses):
        complain(Failure(f"warning: {problem}"))
    folder = passing.unit_folder(user_unit=options["user_unit"])
    _show({folder: texts, logrotate.FOLDER: rotation})
    if not options["dry_run"]:
        if not options["force"]:
            _refuse_to_hide(texts, user_unit=options["user_unit"])
        check_free(logrotate.FOLDER, rotation, force=options["force"])
        write_all(folder, texts, force=options["force"])
        if rotation:
            write_all(logrotate.FOLDER, rotation, force=options["force"])
        _tell_systemd(name, options, plan.addresses)


command.params[-1:-1] = passing.OPTIONS


def _plan(
    name: str, listen: tuple[str, ...], program: tuple[str, ...], options: dict[str, Any]
) -> tuple[units.Plan, tuple[str, ...]]:
    """What to write, and the command line of the program. Raises OperatorError or ValueError."""
    _check_unit_name(name)
    parsed = [listeners.parse(text) for text in listen]
    found = tuple(address for _, address in parsed)
    if len(set(found)) < len(found):
        raise OperatorError("--listen: an address is there twice; write it once")
    user = _user(options["user"], found, user_unit=options["user_unit"])
    directory = os.path.abspath(options["directory"]) if options["directory"] else ""
    words = (_program(program, directory), *program[1:])
    env_file = os.path.abspath(options["env_file"]) if options["env_file"] else ""
    if re.search(r"[*?\[\\]", env_file):
        raise OperatorError(
            f"--env-file {env_file}: systemd takes * ? [ \\ for patterns; rename it"
        )
    sockact = passing.sockact_command()
    plan = units.Plan(
        name=name,
        start=command_line((sockact, "run", *_run_options(name, directory), "--", *words)),
        reload=command_line((sockact, "reload", name)),
        addresses=found,
        label=passing.label(listen),
        user=user,
        env_file=escape_value(env_file),
        paths=with_targets(words[0], sockact, sys.executable, directory, env_file),
        logs=_logs(options, user),
        user_unit=options["user_unit"],
        jit=os.path.basename(_interpreter(words[0])).startswith(_JITS),
        start_timeout=options["start_timeout"],
        trial=options["trial"],
        drain_timeout=options["drain_timeout"],
        kill_timeout=options["kill_timeout"],
    )
    _check_socket_files(plan)
    return plan, words


def _logs(options: dict[str, Any], user: str) -> tuple[str, ...]:
    """The files of --log and --log-stderr."""
    found = tuple(dict.fromkeys(filter(None, (options["log"], options["log_stderr"]))))
    for path in found:
        if os.path.dirname(path) == "/var/log" and user != "root" and not options["user_unit"]:
            raise OperatorError(
                f"--log {path}: only root may make files there; write "
                f"/var/log/NAME/{os.path.basename(path)}, a directory that systemd makes"
            )
    return found


def _rotation(plan: units.Plan) -> dict[str, str]:
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


def _check_socket_files(plan: units.Plan) -> None:
    for path in units.unix_paths(plan.addresses):
        if f"/sockact/{plan.name}/" in os.path.normpath(path):
            raise OperatorError(
                f"--listen {path}: systemd removes that folder when the service stops; "
                f"write for example /run/{plan.name}.sock"
            )


def _user(user: str | None, found: tuple[Address, ...], *, user_unit: bool) -> str:
    if user_unit and user:
        raise OperatorError("--user is for system units: --user-unit runs as its own user")
    if not user:
        if units.unix_paths(found) and not user_unit:
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


def _program(program: tuple[str, ...], directory: str) -> str:
    """The absolute path of the program, with its symbolic links. Raises OperatorError."""
    if not program:
        raise OperatorError(
            "no program given: write it last, as in `sockact init myapp --listen "
            "127.0.0.1:8000 -- gunicorn app:app`"
        )
    first = program[0]
    if "/" in first:
        path = os.path.normpath(os.path.join(directory or os.getcwd(), first))
        found = path if os.path.isfile(path) and os.access(path, os.X_OK) else None
    else:
        found = shutil.which(first) if first else None
    if not found:
        raise OperatorError(
            f"there is no program {first!r}: write its whole path, such as /srv/myapp/venv/bin/"
            f"{os.path.basename(first) or 'gunicorn'}"
        )
    return os.path.abspath(found)


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


def _run_options(name: str, directory: str) -> list[str]:
    """For `sockact run`: the options that were given here."""
    given = passing.given()
    # Or else systemd calls the program's lines after what it starts, and that is sockact.
    identifier = [] if "--identifier" in given else ["--identifier", name]
    where = ["--directory", directory] if directory else []
    return ["--name", name, *where, *identifier, *given]


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


def _tell_systemd(name: str, options: dict[str, Any], wanted: tuple[Address, ...]) -> None:
    manager = Manager(options["user_unit"])
    enable = ("enable", "--now", f"{name}.socket")
    taken: list[str] = []
    try:
        manager.call("daemon-reload")
        if options["enable"]:
            taken = [str(address) for address in wanted if listening.held(address)]
            manager.call(*enable)
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
        after = f"{manager.name} {' '.join(enable)}`, then `{after}"
    if options["user_unit"] and (options["log"] or options["log_stderr"]):
        click.echo(
            f"\n{name}: the system's logrotate leaves its log alone; one of your own calls "
            f"`sockact rotate {name}` in its postrotate"
        )
    click.echo(f"\n{name}: written; next: `{after}`, and `{manager.name} reload {name}` ever after")
