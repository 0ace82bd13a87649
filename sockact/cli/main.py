"""The command `sockact`: finds the subcommand, and turns every failure into one line.

Exit codes: 0 done, 1 failed, 2 asked in a wrong way, 3 the service does not run.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

import sockact
from sockact.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    **dict.fromkeys(("run", "dev"), "setup"),
    **dict.fromkeys(("reload", "rollback", "status", "history", "logs"), "running"),
    **dict.fromkeys(("rotate", "reset", "stop", "upgrade"), "running"),
    **dict.fromkeys(("init", "wrap", "unwrap", "check", "config", "exporter"), "setup"),
}
"""In the order of the help, each with the room of its module."""


class Failure(click.ClickException):
    """The command failed: one line that says what to do, and perhaps what others said."""

    exit_code = 1

    def __init__(self, message: str, quoted: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.quoted = quoted


class NotRunning(Failure):
    """There is no such service to speak to."""

    exit_code = 3


class Commands(click.Group):
    """Loads a command's module only when it is called: starting takes part in every start."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"sockact.cli.{_COMMANDS[cmd_name]}.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command and exit, with one line on stderr instead of click's usage text.

        Returns only what `run` is to do, which is for the caller to do.
        """
        extra["standalone_mode"] = False
        try:
            result = super().main(*args, **extra)
        except click.Abort:
            sys.exit(1)
        except click.ClickException as failure:
            complain(failure)
            sys.exit(failure.exit_code)
        except OSError as error:
            # Whoever has a file or a service to name has caught its own: this is the output.
            _give_up(1)
            text = str(error) if error.filename else f"cannot write the output: {error.strerror}"
            complain(Failure(text))
            sys.exit(1)
        if isinstance(result, Settings):
            return result
        sys.exit(result if isinstance(result, int) else 0)


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(sockact.__version__, message="%(prog)s %(version)s", prog_name="sockact")
@click.pass_context
def cli(context: click.Context) -> None:
    """Make `systemctl reload` an upgrade that no client notices.

    `sockact run` starts a server that was never written for it; `sockact reload` replaces it while
    its listeners stay open and every accepted connection is served to its end.
    """
    if context.invoked_subcommand is None:
        raise click.UsageError(f"no command given: write one of {', '.join(_COMMANDS)}")


def main(words: Sequence[str]) -> Settings:
    """`Commands.main`. Ctrl-C and a closed pipe end it as they end any other program."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    settings = cli.main(words, prog_name="sockact")
    assert isinstance(settings, Settings)
    return settings


def printable(text: str) -> str:
    """What a program wrote, without what could control the terminal."""
    return "".join(
        c if c.isprintable() or c == "\t" else c.encode("unicode_escape").decode() for c in text
    )


def complain(failure: click.ClickException) -> None:
    """One line on stderr, and what is quoted."""
    message = " ".join(failure.format_message().split()).removesuffix(".")
    if isinstance(failure, click.UsageError):
        path = failure.ctx.command_path if failure.ctx else "sockact"
        message = f"{message[:1].lower()}{message[1:]}; see `{path} --help`"
    quoted = [f"  | {printable(line)}" for line in getattr(failure, "quoted", ())]
    try:
        click.echo("\n".join([f"sockact: {printable(message)}", *quoted]), err=True)
    except OSError:
        _give_up(2)


def _give_up(fd: int) -> None:
    """Let what is still buffered for this descriptor go nowhere: exiting would try it again."""
    with contextlib.suppress(OSError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, fd)
        os.close(nowhere)
