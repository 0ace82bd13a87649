"""The generations that have a process, by number."""

from __future__ import annotations

from sockact.core.connections import Rules
from sockact.core.lifecycle.model import State
from sockact.supervisor.generations.live_generation import LiveGeneration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from sockact.core.lifecycle.model import Service
    from sockact.core.matching import Address, Denied
    from sockact.core.settings import Settings
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.generations.context import Context, SettingsInForce
    from sockact.supervisor.records.carried_state import CarriedGeneration


class Generations:
    """The generations of one service. For an unknown number, the next generation's values apply."""

    def __init__(self, settings: SettingsInForce) -> None:
        self._settings = settings
        self._live: dict[int, LiveGeneration] = {}

    def __getitem__(self, number: int) -> LiveGeneration:
        return self._live[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._live)

    def get(self, number: int | None) -> LiveGeneration | None:
        """Return the generation with this number, if it has a process."""
        return None if number is None else self._live.get(number)

    def values(self) -> tuple[LiveGeneration, ...]:
        """Return the present generations, the oldest first."""
        return tuple(self._live.values())

    def launch(self, context: Context, number: int, *, capture: bool) -> LiveGeneration:
        """Launch generation `number`; `capture` keeps its last lines.

        Raises OperatorError, OSError.
        """
        self._live[number] = LiveGeneration.start(context, number, capture=capture)
        return self._live[number]

    def resume(self, context: Context, carried: CarriedGeneration) -> None:
        """Hold a generation that the previous version of sockact launched."""
        self._live[carried.number] = LiveGeneration.take_over(context, carried)

    def forget(self, number: int) -> None:
        """Release a generation whose last process has ended."""
        self._live.pop(number).close()

    def settle(self, service: Service) -> None:
        """Stop to watch generations that are no longer pending, warmed up, or on trial."""
        for number, generation in self._live.items():
            g = service.get(number)
            if g is None or g.state is not State.PENDING:
                generation.settle()
            if g is None or g.trial_until is None:
                generation.proving.end_trial()
            if g is None or g.warm_until is None:
                generation.proving.end_warm_up()

    def version_of(self, number: int) -> str:
        """Return the version of its release; "" while it is unknown."""
        generation = self.get(number)
        return generation.version.text if generation else ""

    def lines_of(self, number: int) -> int | None:
        """Return how many lines it has written to standard error; None if that is not seen."""
        generation = self.get(number)
        outputs = generation.outputs if generation else None
        return outputs.lines() if outputs else None

    def settings_of(self, number: int) -> Settings:
        """Return the settings that it was launched with."""
        generation = self.get(number)
        return generation.settings if generation else self._settings.next

    def rules_of(self, number: int) -> Rules:
        """Return the rules for its connections."""
        generation = self.get(number)
        return generation.rules if generation else Rules(self._settings.next.quiet_after)

    def stop_signal_of(self, number: int) -> int:
        """Return the signal that asks it to end."""
        return self.settings_of(number).stop_signal

    def reopen_signal_of(self, number: int) -> int:
        """Return the signal that makes it reopen its log files; 0 for none."""
        return self.settings_of(number).reopen_signal

    def where(
        self, number: int, wanted: Address, pid: int, queue: int | None
    ) -> Listener | Denied | None:
        """Answer the shim of a process: a listener, a refusal, or None if the program may bind by
        itself. Raises OSError.
        """
        generation = self.get(number)
        return generation.where(wanted, pid, queue) if generation else None

    def looks(self, number: int, wanted: Address, pid: int) -> bool | None:
        """Whether the shim of a process has to refuse a connection to an own listener; None if it
        need not ask any more. Raises OSError.
        """
        generation = self.get(number)
        return generation.looks(wanted, pid) if generation else None

    def are_busy(self) -> bool:
        """Whether a launch, a probe or a trial is under way."""
        return any(generation.is_busy() for generation in self.values())

    def close(self) -> None:
        """Release everything that is held for them."""
        for generation in self.values():
            generation.close()
