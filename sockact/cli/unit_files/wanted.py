"""The service that `sockact init` writes units for, from a command line or a file."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sockact.cli.configuration.loader import FOLDER
from sockact.cli.starting import run
from sockact.cli.unit_files import lane_lines, passing
from sockact.core.errors import OperatorError
from sockact.core.settings import LaneUse, Settings

if TYPE_CHECKING:
    from sockact.cli.configuration.loader import Loaded

PATHS = ("watch", "watch_ignore", "watch_delay", "watch_pause")
"""Options that a .path unit replaces."""


@dataclass(frozen=True)
class Wanted:
    """A service to write units for."""

    start: tuple[str, ...]
    """The words after `sockact run`."""
    command: tuple[str, ...]
    """The program with its absolute path, and its arguments."""
    directory: str
    listen: tuple[str, ...]
    times: Settings
    """Settings of which only the times, and whether there are lanes, are used."""
    logs: tuple[str, ...]
    """The files of --log and --log-stderr; "" for none."""
    config: str = ""
    """The configuration file."""
    release: str = ""


def of_words(
    name: str, listen: tuple[str, ...], program: tuple[str, ...], options: dict[str, Any]
) -> Wanted:
    """Read what is wanted from the command line. Raises OperatorError."""
    directory = os.path.abspath(options["directory"]) if options["directory"] else ""
    words = (_program(program, directory), *program[1:])
    given = [*_given(options), *lane_lines.options(options["listen_lanes"])]
    # systemd would use the name of what it starts, which is sockact.
    identifier = [] if "--identifier" in given else ["--identifier", name]
    where = ["--directory", directory] if directory else []
    start = ("--name", name, *where, *identifier, *given, "--", *words)
    times = ("start_timeout", "warm_timeout", "trial", "drain_timeout", "kill_timeout")
    others = ("canary", "warm")
    settings = Settings(
        name,
        words,
        lanes=LaneUse(options["lanes"]),
        **{key: options[key] for key in (*times, *others)},
    )
    logs = options["log"], options["log_stderr"]
    return Wanted(start, words, directory, listen, settings, logs)


def of_file(name: str, listen: tuple[str, ...], options: dict[str, Any]) -> Wanted:
    """Read what is wanted from the file of --config. Raises OperatorError and click's errors."""
    given = _given(options)
    with run.command.make_context("sockact run", ["--config", options["config"], *given]) as found:
        settings: Settings = run.command.invoke(found)
        loaded: Loaded = found.params["config"]
        directory = found.params["directory"] or loaded.checked.release
    if options["directory"]:
        raise OperatorError(
            f"--directory cannot be used with --config; set directory in {settings.config}"
        )
    if options["path_unit"] and settings.watch:
        raise OperatorError(f"--path-unit replaces watch; remove watch from {settings.config}")
    if not (listen or settings.listen):
        raise OperatorError(f"no address; set listen in {settings.config}, or add --listen")
    if (options["listen_lanes"] or 0) > 1 and settings.lanes is LaneUse.OFF:
        raise OperatorError(f'--listen-lanes: set lanes = "auto" in {settings.config}')
    own = [] if settings.name == name else ["--name", name]
    identifier = [] if settings.identifier else ["--identifier", name]
    start = ("--config", _reference(name, settings.config), *own, *identifier, *given)
    command = (_program(settings.command, directory), *settings.command[1:])
    listen = listen or settings.listen
    logs = settings.log, settings.log_stderr
    said = settings.config, settings.release
    return Wanted(start, command, directory, listen, settings, logs, *said)


def _given(options: dict[str, Any]) -> list[str]:
    return passing.given(PATHS if options["path_unit"] else ())


def _reference(name: str, path: str) -> str:
    """The file as the unit names it: the service's name if the file is found by that."""
    return name if os.path.splitext(path)[0] == os.path.join(FOLDER, name) else path


def _program(program: tuple[str, ...], directory: str) -> str:
    """The absolute path of the program, with its symbolic links. Raises OperatorError."""
    if not program:
        raise OperatorError(
            "no program given; write it last, as in `sockact init myapp --listen "
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
            f"there is no program {first!r}; write its absolute path, such as /srv/myapp/venv/bin/"
            f"{os.path.basename(first) or 'gunicorn'}"
        )
    return os.path.abspath(found)
