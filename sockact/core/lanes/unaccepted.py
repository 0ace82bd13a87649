"""Connections that waited in a lane, and that its generation will not accept."""

from __future__ import annotations

from sockact.core.record import dataclass


@dataclass(frozen=True)
class Unaccepted:
    """What became of them."""

    count: int
    moved: bool
    """The kernel has moved them to other lanes; otherwise it has reset them."""

    def told(self, which: str) -> str:
        """Return a message for the operator about the connections `which` they are."""
        what = f"1 connection {which} was"
        if self.count != 1:
            what = f"{self.count} connections {which} were"
        if self.moved:
            return f"{what} passed on to another generation"
        return f"{what} reset; with net.ipv4.tcp_migrate_req=1, the kernel passes them on"
