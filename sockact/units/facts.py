"""A service and its sockets, as systemd has loaded them.

Raises OperatorError if systemd cannot be asked or does not know the unit.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from sockact.core.errors import OperatorError
from sockact.core.numbers import seconds
from sockact.systemd import listeners
from sockact.trust import files, walk
from sockact.units import stale_files, unitfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.matching import Address
    from sockact.units.manager import Manager
    from sockact.units.unitfile import Settings

_LARGEST_ENVIRONMENT = 1 << 20
RUNNING = ("active", "reloading", "activating")


@dataclass(frozen=True)
class Unit:
    """A loaded unit."""

    name: str
    properties: dict[str, str] = field(default_factory=dict)
    """As `systemctl show` prints them."""
    files: dict[str, Settings] = field(default_factory=dict)
    """The settings of its file and drop-ins together, by section."""
    changed: float = 0.0
    """When one of its files last changed, in seconds since 1970."""
    parts: dict[str, dict[str, Settings]] = field(default_factory=dict)
    """The settings of each file alone: path → section → settings, in the order of the files."""
    stale: tuple[str, ...] = ()
    """Its files, and those of EnvironmentFile=, that changed since its main process started."""

    def get(self, name: str) -> str:
        """A property; empty if this version of systemd does not have it."""
        return self.properties.get(name, "")

    def words(self, name: str) -> list[str]:
        """A property that is a list of words."""
        return self.get(name).split()

    def span(self, name: str) -> float:
        """A time in seconds; infinite if it is not limited, or unknown to this version."""
        try:
            return seconds(self.get(name))
        except ValueError:
            return float("inf")

    def written(self, name: str) -> str:
        """The last line NAME=… of its files, as written there."""
        return f"{name}={self.files.get('Service', {}).get(name, [''])[-1]}"

    @property
    def start(self) -> str:
        """The last ExecStart= of its files, as written there; empty if there is none."""
        return (self.files.get("Service", {}).get("ExecStart") or [""])[-1]

    @property
    def running(self) -> bool:
        """Whether it is active or about to be."""
        return self.get("ActiveState") in RUNNING

    @property
    def is_root(self) -> bool:
        """Whether its processes run as root."""
        return self.get("User") in ("", "root", "0") and self.get("DynamicUser") != "yes"

    @property
    def reaches_start_limit(self) -> bool:
        """Whether a crash loop reaches the start limit, which also stops the .socket unit."""
        burst = self.get("StartLimitBurst")
        interval = self.span("StartLimitIntervalUSec")
        pause = self.span("RestartUSec")
        return burst.isdecimal() and int(burst) * pause < interval < float("inf")

    def addresses(self) -> tuple[list[Address], list[str]]:
        """What a .socket unit listens on, each once, and those of its lines that sockact cannot
        use.
        """
        found, others = self.lines()
        return [*dict.fromkeys(found)], others

    def lines(self) -> tuple[list[Address], list[str]]:
        """The same, with each of several equal lines."""
        found, others = [], []
        for line in self.get("Listen").splitlines():
            text, _, kind = line.rpartition(" (")
            kind = kind.rstrip(")")
            try:
                if kind not in ("Stream", "Datagram"):
                    raise OperatorError(kind)
                found.append(listeners.parse(f"udp:{text}" if kind == "Datagram" else text)[1])
            except OperatorError:
                others.append(line)
        return found, others


@dataclass(frozen=True)
class Facts:
    """A service with its .socket units, and what its command lines mean."""

    version: int
    """The major version of systemd."""
    service: Unit
    sockets: tuple[Unit, ...]
    start: tuple[str, ...]
    """The words of the last ExecStart=, as the program gets them."""
    reload: tuple[str, ...]
    """The words of ExecReload=."""
    runtime: str = "/run"
    """The parent of the directories of RuntimeDirectory=."""

    @property
    def systemctl(self) -> str:
        """The command that controls the units."""
        return "systemctl" if self.runtime == "/run" else "systemctl --user"

    @property
    def options(self) -> tuple[str, ...] | None:
        """The words after `sockact run`; None if the service does not start it."""
        return _after(self.start, "run")

    @property
    def reloads(self) -> str | None:
        """The name that `sockact reload` is given, maybe ""; None if it is not called."""
        found = _after(self.reload, "reload")
        if found is None:
            return None
        return next((word for word in found if not word.startswith("-")), "")


def _after(words: tuple[str, ...], subcommand: str) -> tuple[str, ...] | None:
    """The arguments of `sockact SUBCOMMAND`, also behind `python` or `python -m`."""
    for position, word in enumerate(words[:-1]):
        leads = position < 2 or words[position - 1] == "-m"
        if leads and os.path.basename(word) == "sockact" and words[position + 1] == subcommand:
            return words[position + 2 :]
    return None


def read(manager: Manager, name: str) -> Facts:
    """Ask systemd about NAME, NAME.service or NAME.socket, and the units that belong to it."""
    service = _unit(manager, _service_name(manager, name))
    sockets = [_unit(manager, socket) for socket in _socket_names(manager, service)]
    settings = service.files.get("Service", {})
    variables = _variables(service, settings)

    def words(key: str) -> tuple[str, ...]:
        lines = settings.get(key, [])
        try:
            found = unitfile.program(unitfile.split(lines[-1])) if lines else []
            return tuple(unitfile.expand(found, service.name, variables))
        except OperatorError as error:
            raise OperatorError(f"{service.name}: {key}=: {error}") from error

    start, reload = words("ExecStart"), words("ExecReload")
    return Facts(manager.version(), service, tuple(sockets), start, reload, manager.runtime)


def _service_name(manager: Manager, name: str) -> str:
    if not name.endswith(".socket"):
        return name if name.endswith(".service") else f"{name}.service"
    triggers = unitfile.properties(manager.show(name)).get("Triggers", "").split()
    return triggers[0] if triggers else f"{name.removesuffix('.socket')}.service"


def _socket_names(manager: Manager, service: Unit) -> list[str]:
    """The .socket units that start the service, and the one with its name: with Accept=yes that one
    starts another service.
    """
    found = [other for other in service.words("TriggeredBy") if other.endswith(".socket")]
    like = f"{service.name.removesuffix('.service')}.socket"
    if like not in found:
        properties = unitfile.properties(manager.show(like))
        found += [like] if properties.get("LoadState") == "loaded" else []
    return found


def _unit(manager: Manager, name: str) -> Unit:
    properties = unitfile.properties(manager.show(name))
    state = properties.get("LoadState")
    if state == "not-found":
        raise OperatorError(f"there is no unit {name}; create it with `sockact init`")
    if state != "loaded":
        raise OperatorError(f"{name} is not loaded ({state}); see `{manager.name} status {name}`")
    paths = [properties.get("FragmentPath", ""), *properties.get("DropInPaths", "").split()]
    changed = max((_changed(path) for path in paths if path), default=0.0)
    if gone := [path for path in paths if path and not os.path.lexists(path)]:
        raise OperatorError(
            f"{gone[0]} of {name} is gone; run `{manager.name} daemon-reload`, then try again"
        )
    text = manager.cat(name)
    parts = {path: unitfile.parse(part) for path, part in unitfile.parts(text, paths).items()}
    stale = _stale(properties, [path for path in paths if path])
    return Unit(name, properties, unitfile.parse(text), changed, parts, stale)


def _stale(properties: dict[str, str], paths: list[str]) -> tuple[str, ...]:
    started = properties.get("ExecMainStartTimestamp", "").removeprefix("@")
    if not started.isdecimal() or properties.get("MainPID", "0") == "0":
        return ()
    named = stale_files.environment_files(_paths(properties.get("EnvironmentFiles", "")))
    return tuple(stale_files.newer([*paths, *named], int(started)))


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def odd_environment_file(service: Unit) -> str:
    """The first EnvironmentFile= that is there and no regular file, such as a FIFO, for which
    systemd would wait when it starts the service; empty if there is none. /dev/null is an empty
    file.
    """
    for path in _environment_files(service):
        try:
            with walk.find(path) as found:
                file = found.stat()
                if not (stat.S_ISREG(file.st_mode) or _is_null(file)):
                    return path
        except OSError:
            continue  # systemd says so, without waiting.
    return ""


def _is_null(file: os.stat_result) -> bool:
    return stat.S_ISCHR(file.st_mode) and file.st_rdev == os.makedev(1, 3)


def _environment_files(service: Unit) -> list[str]:
    """The files that systemd reads, as far as they are there."""
    return stale_files.environment_files(_paths(service.get("EnvironmentFiles")))


def _paths(environment_files: str) -> list[str]:
    """Those of the property, whose lines have the form `PATH (ignore_errors=no)`."""
    lines = environment_files.split("\n")
    return [line.rpartition(" (")[0] or line for line in lines if line]


def _variables(service: Unit, settings: Settings) -> dict[str, str]:
    """The values of $VARIABLES in command lines, as far as we may read them."""
    found: dict[str, str] = {}
    for line in settings.get("Environment", []):
        for word in unitfile.settled(line):
            key, _, value = word.partition("=")
            found[key] = value
    for path in _environment_files(service):
        try:
            # Perhaps the service user's: no FIFO, no device, and not without end.
            data = files.read(path, _LARGEST_ENVIRONMENT)
        except OSError:
            continue
        found |= unitfile.environment(data.decode("utf-8", "replace"))
    return found
