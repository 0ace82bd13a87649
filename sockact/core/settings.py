"""What `sockact run` was asked to do. Built by the command line, read by the supervisor.

They travel between the two as JSON.
"""

from __future__ import annotations

import json
from enum import StrEnum

from sockact.core.record import asdict, dataclass


class Adopt(StrEnum):
    """How the program's own bind() and listen() end up on the listeners."""

    AUTO = "auto"
    SECCOMP = "seccomp"
    SHIM = "shim"
    NATIVE = "native"


class UnknownSetting(ValueError):
    """It is of a version of sockact that is newer than this one."""


@dataclass(frozen=True)
class Settings:
    """The settings of one service. Times are in seconds."""

    name: str
    command: tuple[str, ...]
    directory: str = "/"
    """Where the program runs; a path through a release symlink stays one."""
    listen: tuple[str, ...] = ()
    adopt: Adopt = Adopt.AUTO
    ready: str = "interest"
    start_timeout: float = 90.0
    trial: float = 0.0
    """How long a successor serves alone before it is committed; 0: not at all."""
    probe: str = ""
    """What watches the trial: http://…, exec:COMMAND, tcp, or nothing."""
    probe_interval: float = 1.0
    probe_timeout: float = 5.0
    probe_threshold: int = 1
    probe_status: tuple[int, int] = (200, 399)
    probe_body: str = ""
    watchdog_probe: str = ""
    """What has to pass before systemd's watchdog hears of us: http://… or exec:COMMAND."""
    keep_predecessor: float = 0.0
    max_draining: int = 4
    start_limit_burst: int = 10
    """So many failures in `start_limit_interval` end unforced reloads; 0: none do."""
    start_limit_interval: float = 600.0
    drain_timeout: float = 60.0
    kill_timeout: float = 10.0
    stop_signal: int = 15
    reopen_signal: int = 0
    """Sent to the first process of each generation when logs are rotated; 0: none."""
    identifier: str = ""
    """By which the journal knows a generation's lines, with its number; empty: as systemd says."""
    on: tuple[tuple[str, ...], ...] = ()
    """Hooks: an event each, and the words of the command for it."""
    hook_timeout: float = 10.0
    release_version: str = "auto"
    """Where the version of a release is from: file:PATH, exec:COMMAND, git:DIRECTORY, path, …"""
    log_format: str = "text"
    environment: tuple[str, ...] = ()
    """NAME=VALUE, on top of the supervisor's own."""
    release: str = ""
    """A symbolic link to the release that is deployed, followed once for each generation."""
    config: str = ""
    """The configuration file that some of this is from; empty: there is none."""
    config_text: str = ""
    """What it said."""
    log: str = ""
    """The file that its standard output goes to, and its standard error if that has none of its
    own; empty: as ours.
    """
    log_stderr: str = ""
    watch: tuple[str, ...] = ()
    """Absolute paths: what changes there reloads the service."""
    watch_ignore: tuple[str, ...] = ()
    """Patterns of names that do not count, beside the usual ones."""
    watch_delay: float = 0.5
    watch_pause: float = 60.0
    """For so long nothing has to change before another row of reloads may begin."""
    terse: bool = False
    """The operator sits at the terminal: only what is news to a developer is told."""

    def to_json(self) -> str:
        """What `from_json` turns back; also of names that are not UTF-8."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        """Raises TypeError or ValueError when it is not of the form of `to_json`."""
        return cls.from_dict(json.loads(text))

    @classmethod
    def from_older(cls, text: str) -> Settings:
        """As `from_json`; settings that the version which wrote it did not know are as usual."""
        usual = asdict(cls("", ()))
        return cls.from_dict(usual | json.loads(text))

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> Settings:
        """Rebuild settings from what `dataclasses.asdict` gave, after a trip through JSON.

        Raises TypeError or ValueError when the data is not of that form.
        """
        known = {*cls.__match_args__}
        if unknown := set(data) - known:
            raise UnknownSetting(f"unknown setting {sorted(unknown)[0]!r}")
        return cls(
            name=_text(data, "name"),
            command=_texts(data, "command"),
            directory=_text(data, "directory"),
            listen=_texts(data, "listen"),
            adopt=Adopt(_text(data, "adopt")),
            ready=_text(data, "ready"),
            start_timeout=_seconds(data, "start_timeout"),
            trial=_seconds(data, "trial"),
            probe=_text(data, "probe"),
            probe_interval=_seconds(data, "probe_interval"),
            probe_timeout=_seconds(data, "probe_timeout"),
            probe_threshold=_count(data, "probe_threshold"),
            probe_status=_range(data, "probe_status"),
            probe_body=_text(data, "probe_body"),
            watchdog_probe=_text(data, "watchdog_probe"),
            keep_predecessor=_seconds(data, "keep_predecessor"),
            max_draining=_count(data, "max_draining"),
            start_limit_burst=_count(data, "start_limit_burst", least=0),
            start_limit_interval=_seconds(data, "start_limit_interval"),
            drain_timeout=_seconds(data, "drain_timeout"),
            kill_timeout=_seconds(data, "kill_timeout"),
            stop_signal=_count(data, "stop_signal"),
            reopen_signal=_count(data, "reopen_signal", least=0),
            identifier=_text(data, "identifier"),
            on=_lists(data, "on"),
            hook_timeout=_seconds(data, "hook_timeout"),
            release_version=_text(data, "release_version"),
            log_format=_text(data, "log_format"),
            environment=_texts(data, "environment"),
            release=_text(data, "release"),
            config=_text(data, "config"),
            config_text=_text(data, "config_text"),
            log=_text(data, "log"),
            log_stderr=_text(data, "log_stderr"),
            watch=_texts(data, "watch"),
            watch_ignore=_texts(data, "watch_ignore"),
            watch_delay=_seconds(data, "watch_delay"),
            watch_pause=_seconds(data, "watch_pause"),
            terse=_flag(data, "terse"),
        )


def _text(data: dict[str, object], key: str) -> str:
    value = data.get(key)
    if not isinstance(value, str):
        raise TypeError(f"{key}: a text is needed, not {value!r}")
    return value


def _texts(data: dict[str, object], key: str) -> tuple[str, ...]:
    values = data.get(key)
    if not isinstance(values, list | tuple):
        raise TypeError(f"{key}: a list is needed, not {values!r}")
    return tuple(_text({key: value}, key) for value in values)


def _lists(data: dict[str, object], key: str) -> tuple[tuple[str, ...], ...]:
    values = data.get(key)
    if not isinstance(values, list | tuple):
        raise TypeError(f"{key}: a list is needed, not {values!r}")
    return tuple(_texts({key: value}, key) for value in values)


def _seconds(data: dict[str, object], key: str) -> float:
    value = data.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e7:
        raise TypeError(f"{key}: a number of seconds is needed, not {value!r}")
    return float(value)


def _flag(data: dict[str, object], key: str) -> bool:
    value = data.get(key)
    if not isinstance(value, bool):
        raise TypeError(f"{key}: true or false is needed, not {value!r}")
    return value


def _count(data: dict[str, object], key: str, least: int = 1) -> int:
    value = data.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 1000:
        raise TypeError(f"{key}: a number from {least} to 999 is needed, not {value!r}")
    return value


def _range(data: dict[str, object], key: str) -> tuple[int, int]:
    value = data.get(key)
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise TypeError(f"{key}: two numbers are needed, not {value!r}")
    low, high = (_count({key: one}, key) for one in value)
    return low, high
