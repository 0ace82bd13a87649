"""What `sockact run` was asked to do. Built by the command line, read by the supervisor.

The command line turns it into JSON with `asdict`; the supervisor turns it back with `from_dict`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any


class Adopt(StrEnum):
    """How the program's own bind() and listen() end up on the listeners."""

    AUTO = "auto"
    SECCOMP = "seccomp"
    SHIM = "shim"
    NATIVE = "native"


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
    drain_timeout: float = 60.0
    kill_timeout: float = 10.0

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Settings:
        """Rebuild settings from what `dataclasses.asdict` gave, after a trip through JSON.

        Raises TypeError or ValueError when the data is not of that form.
        """
        known = {field.name for field in fields(cls)}
        if unknown := set(data) - known:
            raise ValueError(f"unknown setting {sorted(unknown)[0]!r}")
        data = dict(data)
        data["command"] = tuple(data["command"])
        data["listen"] = tuple(data.get("listen", ()))
        data["adopt"] = Adopt(data.get("adopt", "auto"))
        return cls(**data)
