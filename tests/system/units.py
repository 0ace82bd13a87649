"""The units of the services under test: those that `sockact init` writes, as texts, and a drop-in
with what a test needs otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

from sockact.systemd.listeners import parse
from sockact.units.render import service_units
from sockact.units.render.service_units import Plan
from sockact.units.unitfile import command_line

ADDRESS = "127.0.0.1:8000"
USER = "app"
# Restarts are waited for, and PYTHONPATH is where the applications of the tests are.
EVERY = ("RestartSec=100ms", "Environment=PYTHONPATH=/opt/zoo:.")


@dataclass(frozen=True)
class Units:
    """What a service's units are made of."""

    name: str
    command: tuple[str, ...]
    directory: str
    options: tuple[str, ...] = ()  # of `sockact run`
    settings: tuple[str, ...] = ()  # lines for [Service], in the place of the rendered ones
    socket: bool = True  # or else it listens itself
    user_unit: bool = False  # of a user manager

    def texts(self) -> dict[str, str]:
        """File name, below the folder of the units → text."""
        plan = self._plan()
        service = service_units.service(plan)
        found = {f"{self.name}.service.d/test.conf": self._drop_in()}
        if self.socket:
            found[f"{self.name}.socket"] = service_units.socket(plan)
        else:
            # A drop-in cannot take a dependency away.
            lines = (line for line in service.splitlines(True) if ".socket" not in line)
            service = "".join(lines)
        return {**found, f"{self.name}.service": service}

    def _plan(self) -> Plan:
        listen = () if self.socket else ("--listen", ADDRESS)
        named = ("--name", self.name, "--identifier", self.name)
        options = (*named, "--directory", self.directory, *listen, *self.options)
        return Plan(
            name=self.name,
            start=command_line(("/usr/bin/sockact", "run", *options, "--", *self.command)),
            reload=command_line(("/usr/bin/sockact", "reload", self.name)),
            addresses=(parse(ADDRESS)[1],),
            user="" if self.user_unit else USER,
            user_unit=self.user_unit,
        )

    def _drop_in(self) -> str:
        return "\n".join(["[Service]", *EVERY, *self.settings, ""])
