"""The settings of `sockact run`: the command line builds them, the supervisor reads them as JSON.

Field names and defaults are carried to other versions of sockact: they never change.
"""

from __future__ import annotations

from enum import StrEnum
from functools import partial

from sockact.core import json_text
from sockact.core.record import asdict, dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Adopt(StrEnum):
    """How the program's own bind() and listen() end up on the listeners."""

    AUTO = "auto"
    SECCOMP = "seccomp"
    SECCOMP_CONNECT = "seccomp-connect"
    SHIM = "shim"
    NATIVE = "native"

    @property
    def may_be_seccomp(self) -> bool:
        """Whether seccomp is used where it is available."""
        return self in (Adopt.AUTO, Adopt.SECCOMP, Adopt.SECCOMP_CONNECT)


class LaneUse(StrEnum):
    """Whether each generation gets a listener of its own (docs/lanes.md)."""

    OFF = "off"
    AUTO = "auto"
    REQUIRE = "require"


class MoveUse(StrEnum):
    """Whether a reload moves open connections to the next generation (docs/delivery.md)."""

    OFF = "off"
    ON = "on"


class UnknownSetting(ValueError):
    """A setting of a newer version of sockact."""


@dataclass(frozen=True)
class Settings:
    """The settings of one service. Times are in seconds."""

    name: str
    command: tuple[str, ...]
    directory: str = "/"
    """Working directory of the program; symbolic links in it are kept."""
    listen: tuple[str, ...] = ()
    adopt: Adopt = Adopt.AUTO
    ready: str = "interest"
    start_timeout: float = 90.0
    trial: float = 0.0
    """How long a successor serves alone before the commit; 0: no trial."""
    probe: str = ""
    """Health check during the trial: http://…, exec:COMMAND or tcp; empty: none."""
    probe_interval: float = 1.0
    probe_timeout: float = 5.0
    probe_threshold: int = 1
    probe_status: tuple[int, int] = (200, 399)
    probe_body: str = ""
    watchdog_probe: str = ""
    """Health check before each ping of systemd's watchdog: http://… or exec:COMMAND."""
    keep_predecessor: float = 0.0
    max_draining: int = 4
    start_limit_burst: int = 10
    """After this many failures within `start_limit_interval`, reloads need --force; 0: never."""
    start_limit_interval: float = 600.0
    drain_timeout: float = 60.0
    quiet_after: float = 3.0
    """How long a connection has no traffic after a response before it counts as idle."""
    kill_timeout: float = 10.0
    stop_signal: int = 15
    reopen_signal: int = 0
    """Signal to the first process of each generation when logs are rotated; 0: none."""
    identifier: str = ""
    """Journal identifier of the program's output, followed by the generation's number; empty: the
    unit's.
    """
    on: tuple[tuple[str, ...], ...] = ()
    """Hooks: for each, the event and the words of the command."""
    hook_timeout: float = 10.0
    release_version: str = "auto"
    """Source of the release's version: file:PATH, exec:COMMAND, git:DIRECTORY, path, …"""
    log_format: str = "text"
    environment: tuple[str, ...] = ()
    """NAME=VALUE, added to the supervisor's environment."""
    release: str = ""
    """Symbolic link to the deployed release, followed once for each generation."""
    config: str = ""
    """The configuration file; empty: none."""
    config_text: str = ""
    """The contents of the configuration file."""
    log: str = ""
    """File for the program's standard output, and for its standard error unless `log_stderr` is
    set; empty: the supervisor's own.
    """
    log_stderr: str = ""
    watch: tuple[str, ...] = ()
    """Absolute paths; a change there reloads the service."""
    watch_ignore: tuple[str, ...] = ()
    """Further patterns of names whose changes are ignored."""
    watch_delay: float = 0.5
    watch_pause: float = 60.0
    """How long nothing must change before another series of reloads may begin."""
    lanes: LaneUse = LaneUse.OFF
    warm: tuple[str, ...] = ()
    """What a successor is asked before it gets clients: URLs, or @FILE with paths."""
    warm_timeout: float = 30.0
    canary: str = ""
    """The steps in which a successor gets clients, as core/canary/schedule.py reads them; empty:
    all at once.
    """
    canary_by: str = "connection"
    """How clients are shared out: by connection, or by client."""
    unsure: str = "wait"
    """What is done at the end of a step of a canary in which not enough was seen: wait, promote or
    rollback.
    """
    canary_timeout: float = 600.0
    """How long such a step waits, after its own time."""
    judge: tuple[str, ...] = ()
    """Who is asked about a canary, as core/canary/judges.py reads them."""
    canary_background: bool = False
    """Callers of a reload are answered when its canary has got its first share."""
    move_connections: MoveUse = MoveUse.OFF
    close_spread: float = 0.0
    """Over how long a draining generation closes its connections; 0: each with its next response.
    """
    terse: bool = False
    """Leave out messages that are only for the record: for `sockact dev`."""

    def to_json(self) -> str:
        """The settings as JSON, for `from_json`. Names need not be UTF-8."""
        return json_text.encode(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Read what `to_json` wrote. Raises TypeError or ValueError if it does not fit."""
        return cls.from_dict(json_text.decode(text))

    @classmethod
    def from_older(cls, text: str) -> Settings:
        """Read what an older version wrote: settings that it did not have get their defaults."""
        usual = asdict(cls("", ()))
        return cls.from_dict(usual | json_text.decode(text))

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> Settings:
        """Read a JSON object with a member for every setting.

        Raises UnknownSetting, TypeError or ValueError if it does not fit.
        """
        annotations: dict[str, str] = cls.__annotations__
        if unknown := data.keys() - annotations.keys():
            raise UnknownSetting(f"unknown setting {min(unknown)!r}")
        values = {
            name: _MAY_BE_ZERO.get(name, _CHECKS[annotation])(data, name)
            for name, annotation in annotations.items()
        }
        make: Callable[..., Settings] = cls
        return make(**values)


def _text(data: dict[str, object], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise TypeError(f"{key}: must be a string, not {value!r}")
    return value


def _texts(data: dict[str, object], key: str) -> tuple[str, ...]:
    values = data.get(key)
    if not isinstance(values, list | tuple):
        raise TypeError(f"{key}: must be a list, not {values!r}")
    return tuple(_text({key: value}, key) for value in values)


def _lists(data: dict[str, object], key: str) -> tuple[tuple[str, ...], ...]:
    values = data.get(key)
    if not isinstance(values, list | tuple):
        raise TypeError(f"{key}: must be a list, not {values!r}")
    return tuple(_texts({key: value}, key) for value in values)


def _seconds(data: dict[str, object], key: str) -> float:
    value = data.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e7:
        raise TypeError(f"{key}: must be a number of seconds, not {value!r}")
    return float(value)


def _flag(data: dict[str, object], key: str) -> bool:
    value = data.get(key)
    if not isinstance(value, bool):
        raise TypeError(f"{key}: must be true or false, not {value!r}")
    return value


def _adopt(data: dict[str, object], key: str) -> Adopt:
    return Adopt(_text(data, key))


def _lane_use(data: dict[str, object], key: str) -> LaneUse:
    return LaneUse(_text(data, key))


def _move_use(data: dict[str, object], key: str) -> MoveUse:
    return MoveUse(_text(data, key))


def _count(data: dict[str, object], key: str, least: int = 1) -> int:
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1000:
        raise TypeError(f"{key}: must be a number from {least} to 999, not {value!r}")
    return value


def _range(data: dict[str, object], key: str) -> tuple[int, int]:
    value = data.get(key)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError(f"{key}: must be a list of two numbers, not {value!r}")
    low, high = (_count({key: one}, key) for one in value)
    return low, high


_CHECKS: dict[str, Callable[[dict[str, object], str], object]] = {
    "str": _text,
    "tuple[str, ...]": _texts,
    "tuple[tuple[str, ...], ...]": _lists,
    "float": _seconds,
    "bool": _flag,
    "int": _count,
    "tuple[int, int]": _range,
    "Adopt": _adopt,
    "LaneUse": _lane_use,
    "MoveUse": _move_use,
}
"""By the annotation of a setting."""
_MAY_BE_ZERO = dict.fromkeys(("start_limit_burst", "reopen_signal"), partial(_count, least=0))
