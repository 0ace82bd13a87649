"""Which lines of the journal are a service's.

Anybody may write SOCKACT_SERVICE=myapp into the journal. Fields that begin with an underscore are
journald's own, from the kernel, so whose a line is is theirs to say; ours only choose among what
came from the service's unit.
"""

from __future__ import annotations

from dataclasses import dataclass

Term = dict[str, str]
"""Fields that a line must all have."""
Clause = tuple[Term, ...]
"""Terms, one of which a line must have."""
Matches = tuple[Clause, ...]
"""Clauses that a line must all have."""


@dataclass(frozen=True)
class Unit:
    """A service unit of the system, or of the manager of the user with this uid."""

    name: str
    uid: int | None = None

    def lines(self) -> Clause:
        """What its processes wrote, the supervisor's and the program's, and what the manager says
        of it.
        """
        if self.uid is None:
            return {"_SYSTEMD_UNIT": self.name}, {"_PID": "1", "UNIT": self.name}
        user = {"_UID": str(self.uid)}
        return {"_SYSTEMD_USER_UNIT": self.name, **user}, {"USER_UNIT": self.name, **user}


def possible_units(service: str, uid: int) -> tuple[Unit, ...]:
    """Return the units that a service of this name may have, as the user `uid` sees them."""
    names = (f"{service}.service", f"sockact@{service}.service")
    users = () if uid == 0 else tuple(Unit(name, uid) for name in names)
    return (*(Unit(name) for name in names), *users)


def of_units(units: tuple[Unit, ...]) -> Clause:
    """The lines of any of them."""
    return tuple(term for unit in units for term in unit.lines())


def of_generation(number: int) -> Term:
    """Match the supervisor's lines about this generation."""
    return {"SOCKACT_GENERATION": str(number)}


def of_handover(handover: str) -> Term:
    """Match the supervisor's lines about the handover of this id."""
    return {"SOCKACT_HANDOVER": handover}


def by_program(identifier: str, number: int, invocation: str = "") -> Term:
    """What the program of a generation wrote, where the service has an identifier. Numbers begin
    again with each invocation of the unit.
    """
    found = {"_TRANSPORT": "stdout", "SYSLOG_IDENTIFIER": f"{identifier}-{number}"}
    return found | of_invocation(invocation)[0] if invocation else found


def of_invocation(invocation: str) -> Clause:
    """The lines from one start of the unit to its end."""
    return ({"_SYSTEMD_INVOCATION_ID": invocation},)
