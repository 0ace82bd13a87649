"""From the NAME on the command line to a connection, and from an error to one line."""

from __future__ import annotations

import os

from sockact.cli.terminal.failures import Failure, Misuse, NotRunning
from sockact.cli.terminal.output import complain
from sockact.core.record import dataclass
from sockact.supervisor.control import client, interface, paths, varlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.control.varlink import JsonObject

ANSWER_SECONDS = 10.0
"""Time for a supervisor to answer what needs no work."""

_ELSEWHERE = "set SOCKACT_RUNTIME_DIR if it runs elsewhere"
START_ONE = "start one with `sockact run`, or set up a unit with `sockact init`"


@dataclass(frozen=True)
class Service:
    """A service that may be running, and its runtime directory."""

    name: str
    directory: str

    def connect(self, seconds: float = ANSWER_SECONDS) -> _Connecting:
        """A connection, made within this time. Raises Failure for all that goes wrong with it."""
        return _Connecting(self, seconds)

    def call(
        self,
        connection: client.Client,
        method: str,
        parameters: JsonObject,
        timeout: float | None = None,
    ) -> JsonObject:
        """Make a call that may take long; on a terminal, show its progress."""
        if not os.isatty(2):
            return connection.call(method, parameters, timeout)
        # Loaded only here: a script does not wait for it.
        from sockact.cli.calls import progress
        from sockact.cli.terminal import live_line

        if not live_line.on_terminal():
            return connection.call(method, parameters, timeout)
        return progress.call(connection, method, parameters, timeout, self.name)

    def explained(self) -> _Explaining:
        """Turn errors of the control socket into a Failure that names the service."""
        return _Explaining(self)

    def failure(self, error: Exception) -> Failure:
        """What an error of the control socket means for this service."""
        if isinstance(error, client.NotRunning):
            return self._not_running()
        if isinstance(error, client.RemoteError):
            return Failure(f"{self.name} {_refusal(error)}")
        if isinstance(error, client.NotPermitted):
            return Failure(
                f"{self.name}: {_access(self.directory)}; run it as that user, or use sudo"
            )
        if isinstance(error, client.Timeout | client.Disconnected):
            return Failure(f"{self.name}: {error}; check its log")
        return Failure(f"{self.name}: {error}")

    def without_socket(self) -> Failure:
        """Why a service that runs cannot be called: its control socket was removed."""
        return Failure(
            f"{self.name}: the supervisor is running, but its control socket in "
            f"{self.directory} is missing; run `systemctl restart {self.name}` to recreate it"
        )

    def _not_running(self) -> Failure:
        if paths.is_running(self.directory):
            return self.without_socket()
        # Only for this does a command read files of systemd.
        from sockact.cli.unit_files import wrapped

        if unfinished := wrapped.unfinished(self.name):
            return NotRunning(f"{self.name} is not running: {unfinished}")
        if hint := _of_the_system(self.name, self.directory):
            return NotRunning(hint)
        from sockact.units import unit_facts

        if known := unit_facts.absent(self.name):
            return NotRunning(f"{self.name} is not running: {known}")
        others = ", ".join(paths.running())
        hint = f"running services: {others} ({_ELSEWHERE})"
        if not others:
            hint = f"start it, or {_ELSEWHERE}"
        return NotRunning(f"{self.name} is not running (looked in {self.directory}); {hint}")


class _Explaining:
    """The context of `explained`."""

    # Not by contextlib, which takes longer to load than a call takes.

    def __init__(self, service: Service) -> None:
        self._service = service

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, client.ControlError | paths.RuntimeDirError):
            raise self._service.failure(error) from error


class _Connecting:
    """The context of `connect`."""

    def __init__(self, service: Service, seconds: float) -> None:
        self._service = service
        self._seconds = seconds

    def __enter__(self) -> client.Client:
        with self._service.explained():
            self._connection = client.Client(self._service.directory, self._seconds)
        return self._connection

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._connection.close()
        self._service.explained().__exit__(kind, error, trace)


def one(name: str | None) -> Service:
    """The service of that name, or the only one that is running."""
    if name:
        try:
            return Service(name, _directory(name))
        except paths.RuntimeDirError as error:
            raise Failure(_of_the_system(name) or str(error)) from error
    services = running()
    if len(services) > 1:
        names = ", ".join(service.name for service in services)
        raise Misuse(f"several services are running ({names}); name one of them")
    return services[0]


def found() -> list[Service]:
    """All running services, if any."""
    try:
        return [Service(name, directory) for name, directory in _running().items()]
    except paths.RuntimeDirError as error:
        raise Failure(str(error)) from error


def _directory(name: str) -> str:
    """The runtime directory of a service, or its directory below paths.SYSTEM_BASE if that is this
    user's: a unit of the system runs as this user. Raises paths.RuntimeDirError.
    """
    system = os.path.join(paths.SYSTEM_BASE, name)
    try:
        usual = paths.runtime_dir(name)
    except paths.RuntimeDirError:
        if not _is_own(system):
            raise
        return system
    if _is_chosen() or os.path.lexists(usual):
        return usual
    return system if _is_own(system) else usual


def _running() -> dict[str, str]:
    """The services in the usual place, and those of the system that run as this user."""
    if _is_chosen():
        return paths.running()
    system = paths.running_in(paths.SYSTEM_BASE)
    own = {name: directory for name, directory in system.items() if _is_own(directory)}
    try:
        return own | paths.running()
    except paths.RuntimeDirError:
        if not own:
            raise
        return own


def _is_chosen() -> bool:
    return any(map(os.environ.get, ("SOCKACT_RUNTIME_DIR", "RUNTIME_DIRECTORY")))


def _is_own(directory: str) -> bool:
    try:
        return os.lstat(directory).st_uid == os.geteuid()
    except OSError:
        return False


def running() -> list[Service]:
    """All running services, at least one."""
    services = found()
    if not services:
        raise NotRunning(
            f"no service is running (looked in {paths.base_dir()}); "
            f"start one with `sockact run`, or {_ELSEWHERE}"
        )
    return services


def tell_unseen() -> None:
    """Say in which directories there are more entries than are looked at."""
    for directory in paths.bases():
        if paths.is_overfull(directory):
            complain(
                Failure(
                    f"{directory} has more than {paths.MOST_ENTRIES} entries; services in it may "
                    "be missing here; remove what does not belong there"
                )
            )


def everywhere() -> list[Service]:
    """All running services of this host, as far as this user can see them."""
    return [
        Service(name, directory)
        for base in paths.bases()
        for name, directory in paths.running_in(base).items()
    ]


def base() -> str:
    """Where a command looks for a service by its name; "" if there is no such directory."""
    try:
        return paths.base_dir()
    except paths.RuntimeDirError:
        return ""


def _of_the_system(name: str, looked_in: str = "") -> str:
    """What to say of a service that is not in `looked_in`, but perhaps systemd's; or nothing."""
    directory = os.path.join(paths.SYSTEM_BASE, name)
    if directory == looked_in or not os.path.isdir(directory):
        return ""
    return f"{name} is a system service: {_access(directory)}; use sudo"


def _access(directory: str) -> str:
    """Whose the directory is, what that user allows others, and who asks."""
    try:
        found = os.stat(directory)
    except OSError as error:
        return f"user {_user(os.geteuid())} cannot access {directory} ({error.strerror})"
    mode = f"{found.st_mode & 0o7777:04o}"
    owner, own = _user(found.st_uid), _user(os.geteuid())
    return f"{directory} belongs to user {owner} (mode {mode}), but this is user {own}"


def _user(uid: int) -> str:
    import pwd  # Only for a failure.

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _refusal(error: client.RemoteError) -> str:
    if error.name == interface.STOPPING:
        return "is stopping; wait until it has stopped, then start it again"
    if error.name == interface.PAUSED:
        return "is paused by the operator; run `sockact resume` first"
    if error.name == varlink.PERMISSION_DENIED:
        return (
            f"takes calls only from root and its own user, not from user {_user(os.geteuid())}; "
            "use sudo"
        )
    if error.name == interface.TOO_MANY_CONNECTIONS:
        return "has too many clients waiting for an answer; end some of them"
    name = error.name.rpartition(".")[2]
    return f"runs a version of sockact that does not support this call ({name}); restart it"
