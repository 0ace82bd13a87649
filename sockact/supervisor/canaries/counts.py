"""What counts the requests of a generation, if anything does."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from sockact.core.canary.sample import Sample

    class RequestCounts(Protocol):
        """Counts the requests of both generations of a canary."""

        def start(self, generation: int) -> None:
            """Count the requests of this generation, too."""

        def read(self, generation: int) -> Sample | None:
            """Return its requests, errors, resets and durations since it was launched; None: its
            requests cannot be counted.
            """

        def stop(self) -> None:
            """Count nothing any more."""


class Uncounted:
    """Counts no requests."""

    def start(self, generation: int) -> None:
        """Do nothing."""

    def read(self, generation: int) -> Sample | None:
        """Return None."""
        return None

    def stop(self) -> None:
        """Do nothing."""
