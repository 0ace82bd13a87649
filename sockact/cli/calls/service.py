"""From the NAME on the command line to a connection, and from what went wrong to one line."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from sockact.cli.main import Failure, NotRunning
from sockact.cli.options import complete
from sockact.cli.options.values import check_name
from sockact.supervisor.control import client, paths
from sockact.supervisor.control.varlink import INTERFACE

if TYPE_CHECKING:
    from collections.abc import Iterator

ANSWER_SECONDS = 10.0
"""How long a supervisor may take for what it answers at once."""

name_argument = click.argument(
    "name",
    required=False,
    callback=check_name,
    envvar="SOCKACT_NAME",
    metavar="[NAME]",
    shell_complete=complete.names,
)


@dataclass(frozen=True)
class Service:
    """A service that may run, and its runtime directory."""

    name: str
    directory: str

    @contextlib.contextmanager
    def connect(self, seconds: float = ANSWER_SECONDS) -> Iterator[client.Client]:
        """A connection, made within this time; whatever goes wrong with it becomes a Failure."""
        with self.explained(), client.Client(self.directory, seconds) as connection:
            yield connection

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """What goes wrong with this service in here becomes a Failure that names it."""
        try:
            yield
        except (client.ControlError, paths.RuntimeDirError) as error:
            raise self._failure(error) from error

    def _failure(self, error: Exception) -> Failure:
        if isinstance(error, client.NotRunning):
            return self._not_running()
        if isinstance(error, client.RemoteError):
            return Failure(f"{self.name} {_refusal(error)}")
        if isinstance(error, client.Timeout | client.Disconnected):
            return Failure(f"{self.name}: {error}; look into its log")
        return Failure(f"{self.name}: {error}")

    def _not_running(self) -> Failure:
        if paths.is_running(self.directory):
            return Failure(
                f"{self.name}: its supervisor runs, but its control socket in {self.directory} is "
                f"gone: `systemctl restart {self.name}` makes it again"
            )
        # Only for this does a command read files of systemd.
        from sockact.cli.unit_files import wrapped

        if unfinished := wrapped.unfinished(self.name):
            return NotRunning(f"{self.name} does not run: {unfinished}")
        if hint := _of_the_system(self.name, self.directory):
            return NotRunning(hint)
        others = ", ".join(paths.running())
        hint = f"these run: {others}" if others else "start it first"
        return NotRunning(
            f"{self.name} does not run (looked in {self.directory}): {hint}, "
            f"or set SOCKACT_RUNTIME_DIR to where it runs"
        )


def one(name: str | None) -> Service:
    """The service of that name, or the only one that runs."""
    if name:
        try:
            return Service(name, paths.runtime_dir(name))
        except paths.RuntimeDirError as error:
            raise Failure(_of_the_system(name) or str(error)) from error
    services = running()
    if len(services) > 1:
        names = ", ".join(service.name for service in services)
        raise click.UsageError(f"several services run, name one of them: {names}")
    return services[0]


def found() -> list[Service]:
    """All services that run here, if any."""
    with _explained():
        return [Service(name, directory) for name, directory in paths.running().items()]


def running() -> list[Service]:
    """All services that run here, at least one."""
    services = found()
    with _explained():
        if not services:
            raise NotRunning(
                f"no service runs (looked in {paths.base_dir()}): start one with `sockact run`, "
                f"or set SOCKACT_RUNTIME_DIR to where it runs"
            )
    return services


def _of_the_system(name: str, looked_in: str = "") -> str:
    """What to say of a service that is not in `looked_in`, but perhaps systemd's; or nothing."""
    folder = os.path.join(paths.SYSTEM_BASE, name)
    if folder == looked_in or not os.path.isdir(folder):
        return ""
    return f"{name} is a service of the system (in {folder}): use sudo"


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except paths.RuntimeDirError as error:
        raise Failure(str(error)) from error


def _refusal(error: client.RemoteError) -> str:
    name = error.name.rpartition(".")[2]
    if name == "Stopping":
        return "is stopping: wait until it has stopped, and start it again"
    if name == "PermissionDenied":
        return f"only listens to root and its own user, not to user {os.geteuid()}: use sudo"
    if error.name == f"{INTERFACE}.TooManyConnections":
        return "has too many clients that wait for an answer: end some of them"
    return f"does not know this call ({name}): restart it, it runs another version of sockact"
