"""What systemd says of a service and its sockets, for `sockact check`.

Raises OperatorError where systemd cannot be asked, or has no such unit.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from sockact.core.errors import OperatorError
from sockact.core.timespan import seconds
from sockact.units import unitfile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.units.manager import Manager
    from sockact.units.unitfile import Settings

RUNNING = ("active", "reloading", "activating")


@dataclass(frozen=True)
class Unit:
    """A unit as it is loaded. `files` is what its files and drop-ins say, section by section."""

    name: str
    properties: dict[str, str] = field(default_factory=dict)
    """As `systemctl show` prints them."""
    files: dict[str, Settings] = field(default_factory=dict)
    changed: float = 0.0
    """When a file of it was last changed, in seconds since 1970."""
    parts: dict[str, dict[str, Settings]] = field(default_factory=dict)
    """What each of its files says by itself: path → section → settings, in their order."""

    def get(self, name: str) -> str:
        """A property; empty where this version of systemd has none of that name."""
        return self.properties.get(name, "")

    def words(self, name: str) -> list[str]:
        """A property that is a list."""
        return self.get(name).split()

    def span(self, name: str) -> float:
        """A time in seconds; infinite for what is not limited, or not known to this version."""
        try:
            return seconds(self.get(name))
        except ValueError:
            return float("inf")

    def written(self, name: str) -> str:
        """The last line NAME=… of its files, as it is written there."""
        return f"{name}={self.files.get('Service', {}).get(name, [''])[-1]}"

    @property
    def start(self) -> str:
        """The last ExecStart= of its files, as it is written there; empty: it has none."""
        return (self.files.get("Service", {}).get("ExecStart") or [""])[-1]

    @property
    def running(self) -> bool:
        """Is it active, or about to be?"""
        return self.get("ActiveState") in RUNNING


@dataclass(frozen=True)
class Facts:
    """All that is looked at."""

    version: int
    """Of systemd."""
    service: Unit
    sockets: tuple[Unit, ...]
    start: tuple[str, ...]
    """The words of the last ExecStart=, as the program gets them."""
    reload: tuple[str, ...]
    """The words of ExecReload=."""
    runtime: str = "/run"
    """Where the folders of RuntimeDirectory= are."""

    @property
    def options(self) -> tuple[str, ...] | None:
        """What follows `sockact run`; None when something else is started."""
        return _after(self.start, "run")

    @property
    def reloads(self) -> str | None:
        """The name that `sockact reload` is called with, perhaps ""; None: it is not called."""
        found = _after(self.reload, "reload")
        if found is None:
            return None
        return next((word for word in found if not word.startswith("-")), "")


def _after(words: tuple[str, ...], subcommand: str) -> tuple[str, ...] | None:
    """The arguments of `sockact SUBCOMMAND`, with or without `python` or `python -m` before it."""
    for position, word in enumerate(words[:-1]):
        leads = position < 2 or words[position - 1] == "-m"
        if leads and os.path.basename(word) == "sockact" and words[position + 1] == subcommand:
            return words[position + 2 :]
    return None


def read(manager: Manager, name: str) -> Facts:
    """Ask systemd about NAME, NAME.service or NAME.socket, and what belongs to it."""
    service = _unit(manager, _service_name(manager, name))
    sockets = [_unit(manager, socket) for socket in _socket_names(manager, service)]
    files = service.files.get("Service", {})
    variables = _variables(service, files)

    def words(key: str) -> tuple[str, ...]:
        lines = files.get(key, [])
        try:
            found = unitfile.program(unitfile.split(lines[-1])) if lines else []
            return tuple(unitfile.expand(found, service.name, variables))
        except ValueError as error:
            raise OperatorError(f"{service.name}: {key}=: {error}") from error

    start, reload = words("ExecStart"), words("ExecReload")
    return Facts(manager.version(), service, tuple(sockets), start, reload, manager.runtime)


def _service_name(manager: Manager, name: str) -> str:
    if not name.endswith(".socket"):
        return name if name.endswith(".service") else f"{name}.service"
    triggers = unitfile.properties(manager.show(name)).get("Triggers", "").split()
    return triggers[0] if triggers else f"{name.removesuffix('.socket')}.service"


def _socket_names(manager: Manager, service: Unit) -> list[str]:
    """Those that start the service, and the one named like it: Accept=yes starts another one."""
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
        raise OperatorError(f"there is no unit {name}: `sockact init` writes one")
    if state != "loaded":
        raise OperatorError(
            f"{name} is not loaded ({state}): `{manager.name} status {name}` says why"
        )
    paths = [properties.get("FragmentPath", ""), *properties.get("DropInPaths", "").split()]
    changed = max((_changed(path) for path in paths if path), default=0.0)
    if gone := [path for path in paths if path and not os.path.lexists(path)]:
        raise OperatorError(
            f"{gone[0]} of {name} is gone: `{manager.name} daemon-reload`, and then this again"
        )
    text = manager.cat(name)
    parts = {path: unitfile.parse(part) for path, part in unitfile.parts(text, paths).items()}
    return Unit(name, properties, unitfile.parse(text), changed, parts)


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _variables(service: Unit, files: Settings) -> dict[str, str]:
    """What $VARIABLES of the command line mean, as far as we may read it."""
    found: dict[str, str] = {}
    for line in files.get("Environment", []):
        for word in unitfile.split(line):
            key, _, value = word.partition("=")
            found[key] = value
    for line in service.get("EnvironmentFiles").split("\n"):
        path = line.rpartition(" (")[0] or line
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found |= unitfile.environment(file.read())
        except OSError:
            continue
    return found
