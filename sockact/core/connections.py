"""Which connections of a draining generation still need it, judged by what the kernel tells of
each.

A connection is

- busy: it has unread request bytes, unsent or unacknowledged response bytes, or what happened
  last was that bytes came in;
- fresh: nothing came in yet: the request is on its way, and closing now is a visible error;
- quiet: what happened last was a completed send, at least QUIET_AFTER ago. Shorter pauses also
  occur in the middle of a streamed answer, which nothing outside the program can tell from the
  pause after it.

The two ages tick in jiffies (1 to 10 ms). When they are equal, the kernel does not say which came
first: an answer may have followed the request within one tick, or the next request may have
followed the answer. Two more facts decide some of these ties; the others count as busy, because
ending a drain late costs a little memory, and ending it early costs a client its answer.
"""

from __future__ import annotations

from enum import Enum

from sockact.core.record import dataclass

QUIET_AFTER = 3.0
"""Seconds after the last completed send until a connection counts as quiet."""

UNANNOUNCED = 0.05
"""Seconds between two looks at a connection whose next change no event announces."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
SHARE_OF_AGE = 0.01
PATIENCE = 1.0
"""Seconds after its gate has closed in which a generation has to come to rest before it ends."""

FIN_WAIT2 = 5
"""TCP_FIN_WAIT2 of include/net/tcp_states.h: our side has sent its end and the client has it."""


class Activity(Enum):
    """What a connection is doing."""

    BUSY = "busy"
    FRESH = "fresh"
    QUIET = "quiet"


@dataclass(frozen=True, slots=True)
class Connection:
    """One TCP connection as INET_DIAG shows it. Queues and byte counts in bytes, ages in
    milliseconds.
    """

    inode: int
    state: int
    unread: int
    """Received bytes that the program has not read (idiag_rqueue)."""
    unsent: int
    """Bytes written that the client has not acknowledged (idiag_wqueue)."""
    last_sent: int
    last_received: int
    last_ack: int
    received: int
    data_segments_in: int
    data_segments_out: int
    identity: bytes = b""
    """The kernel's name of it: struct inet_diag_sockid, with its cookie."""


def classify(connection: Connection) -> Activity:
    """Judge one connection. See the head of this file for the rules."""
    c = connection
    if c.unread or c.unsent:
        return Activity.BUSY
    if c.state == FIN_WAIT2:
        return Activity.QUIET
    if not c.received:
        return Activity.FRESH
    if not c.data_segments_out or c.last_received < c.last_sent:
        return Activity.BUSY
    if c.last_received == c.last_sent and not _answered_within_tick(c):
        return Activity.BUSY
    return Activity.QUIET if c.last_sent >= QUIET_AFTER * 1000 else Activity.BUSY


def quiet_in(connection: Connection) -> float:
    """Seconds for which it cannot become quiet, unless it is closed or shut down.

    0 when it may be at any moment: the client has only to take, or to acknowledge, the end of an
    answer that was sent long ago.
    """
    c = connection
    if classify(c) is Activity.QUIET:
        return 0.0
    if not c.received or not c.data_segments_out or c.last_received < c.last_sent:
        return QUIET_AFTER
    return max(0.0, QUIET_AFTER - c.last_sent / 1000)


def look_again_in(quiet: float, elapsed: float) -> float:
    """Seconds until the next look at a connection that cannot be quiet before `quiet` (0: at any
    moment) and whose closing is announced, `elapsed` seconds after the drain began.

    No event tells that a server has shut its side down or that a closed connection's last bytes
    wait for an acknowledgement. Hence a look now and then, the more seldom the longer it lasts.
    """
    if not quiet:
        return UNANNOUNCED
    pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, elapsed * SHARE_OF_AGE))
    # The ages are in milliseconds, and tick: not a whole series of looks at the very end.
    return min(pause, quiet + 0.005)


def _answered_within_tick(c: Connection) -> bool:
    """Decide a tie: was the send the last of the two?

    With a single segment ever received there is no second request that could have come in after
    the answer. And an acknowledgement without data that came after both can only be for the answer.
    """
    return c.data_segments_in == 1 or c.last_ack < c.last_received
