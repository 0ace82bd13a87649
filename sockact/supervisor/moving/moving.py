"""Which generations' connections move, and where to, as the service changes."""

from __future__ import annotations

from functools import partial

from sockact.core.lifecycle.model import Gate, Phase, State
from sockact.core.message_kinds import News
from sockact.supervisor.base import report
from sockact.supervisor.moving.courier import Courier
from sockact.supervisor.moving.move import Move
from sockact.supervisor.moving.overlays import Overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from sockact.core.json_data import Json
    from sockact.core.lifecycle.model import Generation, Service
    from sockact.supervisor.base.loop import Loop
    from sockact.supervisor.base.report import Say
    from sockact.supervisor.gates.lending import Lending
    from sockact.supervisor.gates.shim_orders import ShimOrders
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls


class Moving:
    """The moves of one service."""

    def __init__(
        self,
        loop: Loop,
        processes: Processes,
        generations: Generations,
        lending: Lending,
        orders: ShimOrders,
        calls: ShimCalls,
        end_connections: Callable[[int, Collection[int] | None], None],
        say: Say,
        count: Callable[[int, int, int], None],
    ) -> None:
        """`end_connections` ends those of a generation that do not move, of some processes or all.
        `count` is called with (generation, moved connections, returned ones) at its end."""
        self._loop = loop
        self._processes = processes
        self._generations = generations
        self._lending = lending
        self._orders = orders
        self._calls = calls
        self._end_connections = end_connections
        self._say = say
        self._count = count
        self._moves: dict[int, Move] = {}
        self._going: set[int] = set()
        """Those under way."""
        self._told: set[int] = set()
        self._overlays: dict[int, Overlay] = {}
        self._couriers: dict[int, Courier] = {}
        self._refusals: dict[int, str] = {}
        """Generation → why nothing can be delivered to it."""

    def follow(self, service: Service) -> None:
        """Begin and end moves, as this state of the service asks for."""
        target = _target(service)
        if target is None or target.number in self._refusals:
            moving: set[int] = set()
        else:
            moving = {g.number for g in service.only(State.DRAINING) if _may_move(g)}
        for number in self._going - moving:
            self._moves[number].stop()
        self._going = moving
        for number in moving:
            assert target is not None
            courier = self._courier(target.number)
            courier.prepare()
            self._move(number).go(courier, target.number)
        self._rest()

    def end(self, number: int, then: Callable[[], None]) -> None:
        """Give all back to a generation that is to be stopped, then call `then`."""
        self._going.discard(number)
        if number not in self._moves:
            then()
            return
        self._tell(number)
        finish = self._overlays[number].finish
        self._moves[number].stop(partial(finish, then))
        self._rest()

    def _rest(self) -> None:
        if not self._going:
            for courier in self._couriers.values():
                courier.rest()

    def moved(self, number: int) -> Collection[int]:
        """Return the inodes of connections that have moved away from a generation."""
        return self._moves[number].moved if number in self._moves else ()

    def status(self, number: int) -> Json | None:
        """Return the Moving of docs/control.md; None if its connections do not move."""
        move = self._moves.get(number)
        if move is None:
            return None
        counts = move.counts
        return {
            "moved": counts.moved,
            "parked": move.parked,
            "returned": counts.returned,
            "to": counts.to,
            "reason": self._refusals.get(counts.to, ""),
        }

    def busy(self) -> str:
        """Return what must end before an upgrade, or ""."""
        delivers = any(courier.delivers for courier in self._couriers.values())
        return "connections are being moved" if self._going or delivers else ""

    def forget(self, number: int) -> None:
        """Forget a generation that is gone."""
        self.end(number, lambda: None)
        self._moves.pop(number, None)
        self._overlays.pop(number, None)
        self._told.discard(number)
        self._refusals.pop(number, None)
        if courier := self._couriers.pop(number, None):
            courier.close()

    def close(self) -> None:
        """Give all back."""
        for number in [*self._moves]:
            self.forget(number)
        for courier in self._couriers.values():
            courier.close()

    def _move(self, number: int) -> Move:
        if number not in self._moves:
            self._overlays[number] = Overlay(self._loop, self._orders, number)
            self._moves[number] = Move(
                self._loop,
                partial(self._processes.of, number),
                self._lending.listeners_of(number),
                self._generations.settings_of(number).drain_timeout / 2,
                partial(self._end_connections, number),
                self._overlays[number].add,
            )
        return self._moves[number]

    def _courier(self, number: int) -> Courier:
        if number not in self._couriers:
            self._couriers[number] = Courier(
                self._loop,
                self._generations[number],
                partial(self._processes.of, number),
                self._lending.listeners_of(number),
                self._calls,
                partial(self._refused, number),
            )
        return self._couriers[number]

    def _refused(self, number: int, why: str) -> None:
        self._refusals[number] = why
        message = f"connections cannot be moved here: {why}; they end as in any drain"
        self._say(number, message, report.NOTICE, News.MOVED)
        for moving in self._going:
            self._moves[moving].stop()
            self._end_connections(moving, None)
        self._going = set()

    def _tell(self, number: int) -> None:
        """Report what has become of its connections, once."""
        counts = self._moves[number].counts
        if number not in self._told and (counts.moved or counts.returned):
            self._told.add(number)
            plural = "" if counts.moved == 1 else "s"
            message = f"{counts.moved} connection{plural} moved to generation {counts.to}"
            if counts.returned:
                message += f", {counts.returned} returned"
            self._say(number, message, report.INFO, News.MOVED)
            self._count(number, counts.moved, counts.returned)


def _target(service: Service) -> Generation | None:
    """Return the generation that connections move to: the one that serves, and for good."""
    stays = service.phase not in (Phase.STOPPING, Phase.STOPPED) and not service.is_paused
    running = service.only(State.RUNNING) if stays else ()
    if len(running) != 1:
        return None
    g = running[0]
    on_trial = g.trial_until is not None or g.canary_until is not None
    serves = g.gate is Gate.OPEN and g.exit is None and not g.ending
    return g if serves and not on_trial else None


def _may_move(g: Generation) -> bool:
    return g.gate is Gate.CLOSED and g.exit is None and not g.ending
