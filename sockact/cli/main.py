"""The command `sockact`: finds the subcommand, and turns every failure into one line.

Exit codes: 0 done, 1 failed, 2 usage error, 3 the service is not running, 4 no outcome within the
--timeout.
"""

from __future__ import annotations

import difflib
import importlib
import signal
import sys
from typing import TYPE_CHECKING, Any

import click

import sockact
from sockact.cli.terminal.failures import Failure
from sockact.cli.terminal.output import report, say
from sockact.core.errors import OperatorError
from sockact.core.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

_COMMANDS = {
    **dict.fromkeys(("run", "dev"), "starting"),
    **dict.fromkeys(("reload", "rollback", "list", "status", "history", "logs"), "running"),
    **dict.fromkeys(("canary", "promote", "pause", "resume"), "running"),
    **dict.fromkeys(("rotate", "reset", "stop", "upgrade"), "running"),
    **dict.fromkeys(("init", "wrap", "unwrap", "check", "config", "exporter"), "setup"),
}
"""In the order of the help, each with the room of its module."""
_TOGETHER = {"resume": "pause"}
"""Those that are in the module of another command."""


class Commands(click.Group):
    """Loads a command's module only when it is called: starting takes part in every start."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = _TOGETHER.get(cmd_name, cmd_name)
        module = importlib.import_module(f"sockact.cli.{_COMMANDS[cmd_name]}.{name}")
        command = module.command if name == cmd_name else getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in _COMMANDS and not ctx.resilient_parsing:
            near = difflib.get_close_matches(args[0], _COMMANDS)
            raise click.UsageError(_unknown("command", args[0], near), ctx)
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command and exit, with one line on stderr instead of click's usage text.

        Returns only what `run` is to do, which is for the caller to do.
        """
        extra["standalone_mode"] = False
        try:
            result = super().main(*args, **extra)
        except click.Abort:
            sys.exit(1)
        except click.ClickException as error:
            report(_in_one_line(error))
            sys.exit(error.exit_code)
        except (Failure, OSError) as error:
            sys.exit(report(error))
        except OperatorError as error:
            sys.exit(report(Failure(str(error))))
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

    `sockact run` starts an unmodified server. `sockact reload` replaces it with a new release while
    its listeners stay open and every accepted connection is served to completion. Without a
    command, the running services are listed.
    """
    if context.invoked_subcommand is None:
        from sockact.cli.calls import list as services

        services.perform()
        say("Try 'sockact --help' for the commands.")


def main(words: Sequence[str]) -> Settings:
    """`Commands.main`. Ctrl-C and a closed pipe end it as they end any other program."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    settings = cli.main(words, prog_name="sockact")
    assert isinstance(settings, Settings)
    return settings


def _in_one_line(error: click.ClickException) -> Failure:
    message = " ".join(error.format_message().split()).removesuffix(".")
    if isinstance(error, click.NoSuchOption):
        message = _unknown("option", error.option_name, error.possibilities or ())
    if isinstance(error, click.UsageError):
        message = message[:1].lower() + message[1:]
        if not message.endswith("?"):
            message += f"; see `{error.ctx.command_path if error.ctx else 'sockact'} --help`"
    return Failure(message, getattr(error, "quoted", ()))


def _unknown(kind: str, word: str, near: Sequence[str]) -> str:
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {word!r}{hint}"
