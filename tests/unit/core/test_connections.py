"""Busy, fresh and quiet, case by case as the kernel shows them."""

from __future__ import annotations

import pytest

from sockact.core.connections import (
    FIN_WAIT2,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    QUIET_AFTER,
    UNANNOUNCED,
    UNASKED_FOR,
    Activity,
    Connection,
    Rules,
    classify,
    look_again_in,
    quiet_in,
    speaks_tls,
)
from sockact.core.record import replace

LONG_AGO = round(QUIET_AFTER * 1000) + 500

ANSWERED = Connection(
    inode=1,
    state=1,
    unread=0,
    unsent=0,
    last_sent=LONG_AGO,
    last_received=LONG_AGO + 40,
    last_ack=LONG_AGO - 10,
    received=500,
    data_segments_in=5,
    data_segments_out=5,
)


@pytest.mark.parametrize(
    ("connection", "activity"),
    [
        pytest.param(ANSWERED, Activity.QUIET, id="answered long ago"),
        pytest.param(replace(ANSWERED, unread=1), Activity.BUSY, id="request not read"),
        pytest.param(replace(ANSWERED, unsent=1), Activity.BUSY, id="answer not acknowledged"),
        pytest.param(
            replace(ANSWERED, received=0, data_segments_in=0, data_segments_out=0),
            Activity.FRESH,
            id="nothing came yet",
        ),
        pytest.param(
            replace(ANSWERED, data_segments_out=0), Activity.BUSY, id="never answered anything"
        ),
        pytest.param(
            replace(ANSWERED, last_received=LONG_AGO - 100), Activity.BUSY, id="asked after answer"
        ),
        pytest.param(
            replace(ANSWERED, last_sent=200, last_received=4000), Activity.BUSY, id="just answered"
        ),
        pytest.param(
            replace(ANSWERED, last_received=LONG_AGO, last_ack=LONG_AGO),
            Activity.BUSY,
            id="tie, nobody knows",
        ),
        pytest.param(
            replace(ANSWERED, last_received=LONG_AGO, last_ack=LONG_AGO - 44),
            Activity.QUIET,
            id="tie, the answer was acknowledged later",
        ),
        pytest.param(
            replace(ANSWERED, last_received=LONG_AGO, last_ack=LONG_AGO, data_segments_in=1),
            Activity.QUIET,
            id="tie, there was only one request",
        ),
        pytest.param(
            replace(ANSWERED, state=FIN_WAIT2, last_received=0), Activity.QUIET, id="we have ended"
        ),
    ],
)
def test_classify(connection: Connection, activity: Activity) -> None:
    assert classify(connection) is activity


@pytest.mark.parametrize(
    ("connection", "seconds"),
    [
        pytest.param(ANSWERED, 0.0, id="is quiet"),
        pytest.param(replace(ANSWERED, last_sent=1000, last_received=1040), 2.0, id="answered"),
        pytest.param(
            replace(ANSWERED, last_sent=1000, last_received=500), QUIET_AFTER, id="asked again"
        ),
        pytest.param(replace(ANSWERED, data_segments_out=0), QUIET_AFTER, id="never answered"),
        pytest.param(replace(ANSWERED, received=0), QUIET_AFTER, id="fresh"),
        pytest.param(replace(ANSWERED, unsent=1), 0.0, id="its client stalls"),
        pytest.param(
            replace(ANSWERED, unread=1), 0.0, id="the program may read what came before its answer"
        ),
        pytest.param(
            replace(ANSWERED, last_received=LONG_AGO, last_ack=LONG_AGO),
            0.0,
            id="tie, an acknowledgement may decide it",
        ),
    ],
)
def test_quiet_in(connection: Connection, seconds: float) -> None:
    assert quiet_in(connection) == seconds


@pytest.mark.parametrize(
    ("quiet_after", "activity"), [(1.0, Activity.QUIET), (60.0, Activity.BUSY)]
)
def test_a_connection_is_quiet_after_the_time_that_is_set(
    quiet_after: float, activity: Activity
) -> None:
    assert classify(ANSWERED, Rules(quiet_after)) is activity


# What tcp_info showed of clients that had shaken hands and not asked yet: Python with TLS 1.2, 1.3
# and a resumed session, and a large post-quantum key in one and two segments.
@pytest.mark.parametrize(
    ("received", "segments"), [(255, 2), (305, 2), (610, 2), (1790, 2), (1790, 3)]
)
def test_a_connection_that_has_only_shaken_hands_is_fresh(received: int, segments: int) -> None:
    shaken = replace(ANSWERED, received=received, data_segments_in=segments, data_segments_out=2)
    assert classify(shaken) is Activity.FRESH
    assert quiet_in(shaken) == UNASKED_FOR - shaken.last_sent / 1000
    later = replace(shaken, last_sent=round(UNASKED_FOR * 1000), last_received=20_000)
    assert classify(later) is Activity.QUIET, "it may be a plain one with two requests"
    tls = Rules(tls=True)
    assert classify(later, tls) is Activity.FRESH
    assert quiet_in(later, tls) == QUIET_AFTER


def test_a_tls_connection_with_a_request_is_quiet() -> None:
    asked = replace(ANSWERED, received=304, data_segments_in=3)
    assert classify(asked, Rules(tls=True)) is Activity.QUIET


@pytest.mark.parametrize(
    ("command", "ports", "tls"),
    [
        ("uvicorn --port 8000 app:app", [8000], False),
        ("uvicorn --ssl-keyfile key app:app", [8000], True),
        ("gunicorn --certfile=/etc/c app:app", [8000], True),
        ("hypercorn -c concert.toml concert:app", [8000], False),
        ("server /etc/own.pem", [8000], True),
        ("node server.js", [80, 443], True),
        ("server", [0], False),
    ],
)
def test_whether_a_program_seems_to_speak_tls(command: str, ports: list[int], tls: bool) -> None:
    assert speaks_tls(tuple(command.split()), ports) is tls


@pytest.mark.parametrize(
    ("quiet", "elapsed", "seconds"),
    [
        (0.0, 100.0, UNANNOUNCED),
        (3.0, 0.0, FIRST_PAUSE),
        (3.0, 10.0, FIRST_PAUSE),
        (3.0, 60.0, 0.6),
        (3.0, 10_000.0, LONGEST_PAUSE),
    ],
)
def test_long_drains_are_checked_less_often(quiet: float, elapsed: float, seconds: float) -> None:
    assert look_again_in(quiet, elapsed) == pytest.approx(seconds)


def test_the_next_look_is_when_it_may_be_quiet() -> None:
    assert 0.02 < look_again_in(0.02, 100.0) < 0.03
