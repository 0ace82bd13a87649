"""What sockact needs of a service's sandbox, and what a unit denies of it: systemd.exec(5)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.units.facts import Unit

CALLS = ("seccomp", "pidfd_getfd", "pidfd_open", "pidfd_send_signal", "kcmp")
"""System calls that the supervisor makes beyond those of any server."""

FAMILIES = ("AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK")
"""Address families of the program and the supervisor."""

# To look into processes, and to signal them: capabilities(7).
_CAPABILITIES = ("CAP_SYS_PTRACE", "CAP_KILL")
# Of the supervisor's own sockets.
_OWN_FAMILIES = ("AF_NETLINK", "AF_UNIX")
# Larger than any errno: a denied system call kills the process instead.
_ERRNO_LIMIT = 4096


def missing_calls(service: Unit) -> list[str]:
    """Those of CALLS that SystemCallFilter= denies."""
    return _missing(service.get("SystemCallFilter"), CALLS)


def missing_families(service: Unit) -> list[str]:
    """The address families that the supervisor needs and RestrictAddressFamilies= denies."""
    return _missing(service.get("RestrictAddressFamilies"), _OWN_FAMILIES)


def missing_capabilities(service: Unit) -> list[str]:
    """Those that CapabilityBoundingSet= denies root, of those for processes of other users."""
    listed = service.get("CapabilityBoundingSet").upper().split()
    return [one for one in _CAPABILITIES if one not in listed] if service.is_root and listed else []


def kills(service: Unit) -> bool:
    """Whether a denied system call kills the process instead of failing."""
    number = service.get("SystemCallErrorNumber")
    return not (number.isdecimal() and 0 < int(number) < _ERRNO_LIMIT)


def _missing(text: str, needed: Sequence[str]) -> list[str]:
    listed = {word.partition(":")[0] for word in text.removeprefix("~").split()}
    if text.startswith("~"):
        return [word for word in needed if word in listed]
    # An empty list allows everything.
    return [word for word in needed if listed and word not in listed]
