"""A connection on its way to another generation."""

from __future__ import annotations

from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.handover.delivery.delivery import Parcel

    class Sender(Protocol):
        """Whose connections are delivered. It closes their descriptors."""

        def delivered(self, items: list[Item]) -> None:
            """Take note that these were accepted."""

        def undelivered(self, items: list[Item]) -> None:
            """Take note that these were not accepted in time."""


@dataclass(frozen=True)
class Item:
    """A connection to deliver."""

    sender: Sender
    index: int
    """The sender's."""
    parcel: Parcel
    listener: int
    """The inode of the listener that it is accepted from."""
    until: float
    """When it goes back."""


def tell(items: list[Item], say: Callable[[Sender, list[Item]], None]) -> None:
    """Tell each sender of its items."""
    by_sender: dict[int, list[Item]] = {}
    for item in items:
        by_sender.setdefault(id(item.sender), []).append(item)
    for some in by_sender.values():
        say(some[0].sender, some)
