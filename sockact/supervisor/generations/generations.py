"""The generations that have a process, by number."""

from __future__ import annotations

from sockact.core.lifecycle.model import State
from sockact.supervisor.generations.launched import Launched

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.core.lifecycle.model import Exit, Service
    from sockact.core.matching import Address
    from sockact.core.settings import Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.generations.context import Context, SettingsInForce
    from sockact.supervisor.records.carried_state import CarriedGeneration


class Generations:
    """All that are held for one service. Unknown numbers are answered as the service would be."""

    def __init__(self, settings: SettingsInForce) -> None:
        self._settings = settings
        self._launched: dict[int, Launched] = {}

    def __getitem__(self, number: int) -> Launched:
        return self._launched[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._launched)

    def get(self, number: int | None) -> Launched | None:
        """The generation with this number, if it is held."""
        return None if number is None else self._launched.get(number)

    def values(self) -> tuple[Launched, ...]:
        """Those that are held now, the oldest first."""
        return tuple(self._launched.values())

    def launch(self, context: Context, number: int, *, capture: bool) -> Launched:
        """Launch generation `number`; `capture` keeps the end of its stderr.

        Raises OperatorError, OSError.
        """
        launched = self._launched[number] = Launched.start(context, number, capture=capture)
        return launched

    def resume(self, context: Context, carried: CarriedGeneration) -> None:
        """Hold a generation that an earlier version of sockact launched."""
        self._launched[carried.number] = Launched.take_over(context, carried)

    def forget(self, number: int) -> None:
        """The last process of the generation has ended."""
        self._launched.pop(number).close()

    def settle(self, service: Service) -> None:
        """End the watches over generations that are no longer pending, or on trial."""
        for number, launched in self._launched.items():
            g = service.get(number)
            if g is None or g.state is not State.PENDING:
                launched.settled()
            if g is None or g.trial_until is None:
                launched.trial_over()

    def reaped(self, pid: int, exit: Exit) -> None:
        """A child of the supervisor has ended: perhaps a probe of one of them."""
        for launched in self.values():
            launched.reaped(pid, exit)

    def version_of(self, number: int) -> str:
        """The version of its release; "" while it is unknown."""
        launched = self.get(number)
        return launched.version.text if launched else ""

    def settings_of(self, number: int) -> Settings:
        """The settings that it was launched with, or those of the next generation."""
        launched = self.get(number)
        return launched.settings if launched else self._settings.next

    def stop_signal_of(self, number: int) -> int:
        """The signal that asks it to end."""
        return self.settings_of(number).stop_signal

    def reopen_signal_of(self, number: int) -> int:
        """The signal that makes it reopen its log files; 0 for none."""
        return self.settings_of(number).reopen_signal

    def where(self, number: int, wanted: Address) -> Listener | str | None:
        """The listener that its shim's bind() belongs to, or why it is refused, or None."""
        launched = self.get(number)
        return launched.where(wanted) if launched else None

    def are_busy(self) -> bool:
        """Whether a launch, a probe or a trial is under way."""
        return any(launched.busy() for launched in self.values())

    def close(self) -> None:
        """Let go of everything that is held for them."""
        for launched in self.values():
            launched.close()
