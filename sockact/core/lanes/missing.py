"""Why a service has no lanes, and what to write so that it gets them: one line for the operator."""

from __future__ import annotations

import errno

from sockact.core.matching import Kind

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.core.matching import Address

LINES = 3
"""Lines of a .socket unit for one address: for the generation that serves, its successor, and one
that drains when the next reload begins."""
FEWEST = 2
"""Lines without which there is no overlap: for the generation that serves, and its successor."""
OFF = (
    "the service runs with --lanes off; restart it with --lanes auto "
    f"(`sockact init --listen-lanes {LINES} …` writes such units)"
)
_NO_STEERING = (
    "this kernel cannot steer connections (SO_ATTACH_REUSEPORT_CBPF, Linux 4.5); use --lanes off"
)


def listen_line(address: Address) -> str:
    """The line of a .socket unit for this address."""
    key = "ListenStream" if address.kind is Kind.STREAM else "ListenDatagram"
    return f"{key}={str(address).removeprefix('udp:')}"


def lines(address: Address) -> str:
    """What to write so that systemd opens the lanes."""
    return (
        f"write {listen_line(address)} {LINES} times and ReusePort=yes in the .socket unit, as "
        f"`sockact init --listen-lanes {LINES} …` does"
    )


def unix(address: Address) -> str:
    """The service has a Unix socket."""
    return (
        f"Unix sockets have no lanes ({address}); listen on a TCP port instead, as in "
        f"`sockact init --listen-lanes {LINES} --listen 127.0.0.1:8000 …`"
    )


def multicast(address: Address) -> str:
    """A UDP socket of the service receives multicast."""
    return f"{address} receives multicast, of which each lane would get a copy; use --lanes off"


def single(address: Address) -> str:
    """The .socket unit has several lines for another address, and one for this."""
    return f"there is only one line for {address}; {lines(address)}"


def unopened(address: Address, error: OSError, *, passed: bool) -> str:
    """No further socket can be opened at the address. `passed`: systemd has opened the first."""
    if error.errno in (errno.ENOPROTOOPT, errno.ENOSYS, errno.EOPNOTSUPP):
        return _NO_STEERING
    why = str(error.strerror)
    if passed and error.errno == errno.EPERM:
        why = "another user's service manager has opened it"
    elif error.errno == errno.EACCES:
        why = "its port is privileged"
    advice = lines(address) if passed else "use --lanes off"
    return f"cannot open another socket at {address}: {why}; {advice}"
