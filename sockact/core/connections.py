"""Connections of a draining generation: which still need it, judged by what the kernel shows.

A connection is

- busy: it has unread request bytes, or unsent or unacknowledged response bytes, or the last event
  was that bytes came in;
- fresh: nothing has come in, or nothing but a TLS handshake. A request is on its way, and closing
  now would be a visible error;
- quiet: the last event was a completed send, at least `Rules.quiet_after` ago. Shorter pauses also
  occur in the middle of a streamed response, and look the same from outside the program.

The kernel counts the ages of the last send and receive in jiffies (1 to 10 ms). If both are equal,
it does not show which came first: the response may have followed the request within one tick, or
the next request the response. Two more facts decide some of these ties. The others count as busy:
ending a drain late costs a little memory, ending it early costs a client its response.

The kernel does not show whether a connection is encrypted. A TLS client sends two flights, of one
segment each (two if the first is large), before its first request; the server answers both. A
plain connection with exactly two requests looks the same. So if the program does not seem to speak
TLS, such a connection is fresh for UNASKED_FOR only.
"""

from __future__ import annotations

from enum import Enum

from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

QUIET_AFTER = 3.0
"""Seconds after the last completed send until a connection counts as quiet, unless set."""

UNASKED_FOR = 15.0
"""Seconds for which a connection that may have shaken hands is fresh, if TLS is unlikely."""

_HANDSHAKE = range(230, 8192)
"""Bytes that a TLS client sends before its first request; the upper bound is with certificates."""
_LARGE_HELLO = 1400
"""Bytes of a handshake from which on its first flight may be two segments (post-quantum keys)."""

_TLS_PORTS = frozenset((443, 465, 636, 853, 993, 995, 5671, 6697, 8443, 8883))
_TLS_OPTIONS = ("ssl", "tls", "cert")
_TLS_FILES = (".pem", ".crt", ".key", ".p12", ".pfx")

UNANNOUNCED = 0.05
"""Seconds between two looks at a connection whose next change no event announces."""

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 1.0
SHARE_OF_AGE = 0.01
PATIENCE = 1.0
"""Seconds after its gate has closed that a generation may take to come to rest."""

ESTABLISHED, FIN_WAIT2 = 1, 5
"""TCP_ESTABLISHED, and TCP_FIN_WAIT2 of include/net/tcp_states.h: the client has acknowledged the
server's FIN.
"""


class Activity(Enum):
    """What a connection is doing."""

    BUSY = "busy"
    FRESH = "fresh"
    QUIET = "quiet"


@dataclass(frozen=True)
class Rules:
    """What the settings and the program say about the connections of a generation."""

    quiet_after: float = QUIET_AFTER
    """Seconds after the last completed send until a connection counts as quiet."""
    tls: bool = False
    """The program seems to speak TLS."""


USUAL = Rules()


def speaks_tls(command: tuple[str, ...], ports: Iterable[int]) -> bool:
    """Whether a program seems to speak TLS, by its command line and the ports of its listeners."""
    if not _TLS_PORTS.isdisjoint(ports):
        return True
    words = [word.lower() for word in command]
    return any(
        word.endswith(_TLS_FILES)
        or (word.startswith("-") and any(name in word for name in _TLS_OPTIONS))
        for word in words
    )


@dataclass(frozen=True, slots=True)
class Connection:
    """A TCP connection as INET_DIAG shows it. Queues are in bytes, ages in milliseconds."""

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
    """struct inet_diag_sockid, with its cookie."""


def classify(connection: Connection, rules: Rules = USUAL) -> Activity:
    """The activity of a connection, by the rules at the head of this file."""
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
    if _may_have_shaken_hands(c) and (rules.tls or c.last_sent < UNASKED_FOR * 1000):
        return Activity.FRESH
    return Activity.QUIET if c.last_sent >= rules.quiet_after * 1000 else Activity.BUSY


def may_park(connection: Connection) -> bool:
    """Whether the program may be waiting for the client's next request.

    It has read all that has come, and the last event, as far as ages show, was that it sent
    something; or nothing has come yet. What follows decides: docs/delivery.md.
    """
    c = connection
    if c.state != ESTABLISHED or c.unread:
        return False
    return not c.received or (bool(c.data_segments_out) and c.last_sent <= c.last_received)


def quiet_in(connection: Connection, rules: Rules = USUAL) -> float:
    """Seconds for which a connection cannot become quiet, unless it is closed or shut down.

    0 if it may at any moment: the client has only to receive, or to acknowledge, the end of a
    response that was sent long ago.
    """
    c = connection
    if classify(c, rules) is Activity.QUIET:
        return 0.0
    after = rules.quiet_after
    if not c.received or not c.data_segments_out or c.last_received < c.last_sent:
        return after
    if _may_have_shaken_hands(c):
        if rules.tls:
            return after  # After its request, and the response.
        after = max(after, UNASKED_FOR)
    return max(0.0, after - c.last_sent / 1000)


def look_again_in(quiet: float, elapsed: float) -> float:
    """Seconds until the next look at a connection whose closing is announced by an event.

    It cannot become quiet for `quiet` seconds (0: it may at any moment); the drain began `elapsed`
    seconds ago. No event tells that a server has shut its side down, or that the last bytes of a
    closed connection wait for an acknowledgement. Hence the looks, at growing intervals.
    """
    if not quiet:
        return UNANNOUNCED
    pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, elapsed * SHARE_OF_AGE))
    # Ages are in milliseconds and tick: 5 ms more avoid a series of looks at the very end.
    return min(pause, quiet + 0.005)


def _may_have_shaken_hands(c: Connection) -> bool:
    """Whether the counters are those of a TLS connection without a request so far."""
    flights = c.data_segments_in - (c.received >= _LARGE_HELLO)
    return 1 <= flights <= 2 <= c.data_segments_in and c.received in _HANDSHAKE


def _answered_within_tick(c: Connection) -> bool:
    """Decide a tie: whether the send came after the receive.

    If a single segment was ever received, no second request can have followed the response. And an
    acknowledgement without data that came after both can only be for the response.
    """
    return c.data_segments_in == 1 or c.last_ack < c.last_received
