"""Lends each generation a lane, and has the kernel steer new clients to one: docs/lanes.md.

core/lanes/ decides which lane, and who gets the clients.
"""

from __future__ import annotations

import contextlib
import time
from functools import partial

from sockact.core.lanes import lending, missing
from sockact.core.lanes.target import shares, target
from sockact.core.lifecycle.model import Phase
from sockact.handover import listener_changes
from sockact.handover.abandoned import abandon
from sockact.handover.lanes import Split
from sockact.kernel import looks
from sockact.kernel.sockets import reuseport
from sockact.kernel.sockets.listener import clear_nonblocking
from sockact.kernel.sockets.reuseport import WHOLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.lanes.unaccepted import Unaccepted
    from sockact.core.lifecycle.model import Service
    from sockact.handover.lanes import Lanes
    from sockact.kernel.sockets.listener import Listener
    from sockact.supervisor.base.loop import Loop


_HANDSHAKE = 3.5
"""Seconds after which a handshake has ended, or its client is gone."""


class Lending:
    """The lanes of one service, and the generations that have them."""

    def __init__(
        self,
        loop: Loop,
        lanes: Lanes,
        service: Callable[[], Service],
        say: Callable[[int, str], None],
        count: Callable[[Unaccepted], None],
        *,
        strict: bool = False,
    ) -> None:
        """`say` and `count` are told of connections that their generation had not accepted.
        `strict`: as for `lending.choose`.
        """
        self.lanes = lanes
        self._strict = strict
        self._loop = loop
        self._say = say
        self._count = count
        self._service = service
        self._lent: dict[int, int] = {}

    def lend(self, number: int, lane: int | None) -> list[Listener]:
        """Lend a lane to a generation, and return its listeners. One that is about to be launched
        has none yet. Raises Unavailable.
        """
        if lane is None:
            lanes, lent = self.lanes, self._lent
            lane = self._choose(number)
            if lane not in lent.values():
                # Nobody else has these listeners, so the program may block in accept.
                for listener in lanes[lane]:
                    clear_nonblocking(listener)
                if lane != lanes.steered:
                    lanes.drop_datagrams(lane)
        self._lent[number] = lane
        return [*self.lanes[lane]]

    def _choose(self, number: int) -> int:
        """Choose the lane of a generation that is about to be launched. Raises Unavailable."""
        lanes = self.lanes
        if not self._lent:
            # As `choose` would say. The first generation is launched before there is a service.
            return lanes.steered
        service = self._service()
        if lanes.count > 1 and listener_changes.receives_multicast(self.serving()):
            # Each lane would get a copy of what is sent to the group, and nobody reads some.
            self._say(number, "shares a listener: the program has joined a multicast group")
            return lanes.steered
        moves = bool(reuseport.migrates())
        return lending.choose(
            service, self._lent, lanes.steered, lanes.count, moves=moves, strict=self._strict
        )

    def lane_of(self, number: int) -> int:
        """Return the lane of a generation; 0 if it has none."""
        return self._lent.get(number, 0)

    def listeners_of(self, number: int) -> tuple[Listener, ...]:
        """Return the listeners that a generation has, or would have."""
        return self.lanes[self.lane_of(number)]

    def generations_with(self, lane: int) -> list[int]:
        """Return the generations that have this lane."""
        return [number for number, lent in self._lent.items() if lent == lane]

    def share_of(self, lane: int) -> int:
        """Return the share of the new clients that a lane gets, in thousandths."""
        split = self.lanes.split
        shared = dict(split.shares)
        if lane in shared:
            return shared[lane]
        return WHOLE - sum(shared.values()) if lane == split.default else 0

    def serving(self) -> tuple[Listener, ...]:
        """Return the listeners that new clients wait at."""
        return self.lanes[self.lanes.steered]

    def why_shared(self) -> str:
        """Return why all generations share the listeners; "" if each has a lane."""
        if self.lanes.count > 1:
            return ""
        return self.lanes.why_none or missing.OFF

    def is_alone(self, number: int) -> bool:
        """Whether a generation has a lane of its own."""
        return self.lanes.count > 1 and lending.is_alone(number, self._lent)

    def is_bypassed(self, number: int) -> bool:
        """Whether new clients are steered past a generation."""
        split = self.lanes.split
        used = {split.default, *(lane for lane, share in split.shares if share)}
        return self.is_alone(number) and self._lent[number] not in used

    def follow(self, *, anew: bool = False) -> None:
        """Steer new clients to the generation that should get them; `anew`: also if they should be
        steered there already. Raises Unavailable.
        """
        split = self._wanted()
        if split is not None and (anew or split != self.lanes.split):
            try:
                self.lanes.steer(split)
            except OSError as error:
                raise looks.as_unavailable(error) from None

    def _wanted(self) -> Split | None:
        """Return how new clients should be shared out; None: as they are."""
        service, lent = self._service(), self._lent
        number = target(service)
        if number not in lent:
            # Once the service has stopped, only systemd's own listeners are left.
            passed = not any(listener.owned for listener in self.lanes.addresses)
            return Split(0) if passed and service.phase is Phase.STOPPING else None
        shared = tuple((lent[one], share) for one, share in shares(service) if one in lent)
        if not shared or service.canary is None or service.handover is None:
            return Split(lent[number])
        # Each canary has other clients: the id of the handover differs.
        by_client, salt = service.canary.plan.by_client, service.handover.id
        return Split(lent[number], shared, by_client, salt)

    def pass_on(self, number: int) -> None:
        """Have the kernel pass on what waits in the lane of a generation that does not accept it
        and that is bypassed. Where the kernel does not, it waits as long as the generation lives.
        """
        if reuseport.migrates():
            lane = self._lent[number]
            live = {*self._lent.values(), self.lanes.steered} - {lane}
            self._tell(number, lane, live)

    def forget(self, number: int) -> None:
        """Take the lane of a generation back. What waits there goes to the others, or is told."""
        lane = self._lent.pop(number, None)
        if lane is not None and self.lanes.count > 1:
            self._abandon(number, lane)
            # A handshake may have been under way.
            again = partial(self._abandon, number, lane)
            self._loop.at(time.monotonic() + _HANDSHAKE, again)

    def _abandon(self, number: int, lane: int) -> None:
        live = {*self._lent.values(), self.lanes.steered}
        if lane in live or not self.lanes.waiting(lane):
            return
        with contextlib.suppress(OSError):  # They wait for the next generation that gets the lane.
            self._tell(number, lane, live)

    def _tell(self, number: int, lane: int, live: set[int]) -> None:
        """Abandon a lane, and say what became of what waited there. Raises OSError."""
        found = abandon(self.lanes, lane, live)
        self._say(number, found.told("that it had not accepted"))
        self._count(found)
