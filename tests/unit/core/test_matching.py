"""Which listener a bind belongs to."""

from __future__ import annotations

import pytest

from sockact.core.matching import (
    Address,
    Adopted,
    Family,
    Kind,
    Refused,
    Traits,
    Unmatched,
    conflict,
    match,
)

V4 = Address(Family.INET, Kind.STREAM, "127.0.0.1", 8000)
ANY4 = Address(Family.INET, Kind.STREAM, "0.0.0.0", 8000)
V6 = Address(Family.INET6, Kind.STREAM, "::1", 8000)
UDP = Address(Family.INET, Kind.DATAGRAM, "127.0.0.1", 8000)
ANY6 = Address(Family.INET6, Kind.STREAM, "::", 8000)
MAPPED = Address(Family.INET6, Kind.STREAM, "::ffff:127.0.0.1", 8000)
UDP6 = Address(Family.INET6, Kind.DATAGRAM, "::", 8000)
PATH = Address(Family.UNIX, Kind.STREAM, "/run/x.sock")
ABSTRACT = Address(Family.UNIX, Kind.STREAM, "@x")


@pytest.mark.parametrize(
    ("wanted", "listeners", "expected"),
    [
        (V4, (V4,), Adopted(0)),
        (V4, (V6, UDP, V4), Adopted(2)),
        (V4, (ANY4,), Adopted(0)),
        (ANY4, (V4,), Adopted(0)),
        (ANY4, (V4, ANY4), Adopted(1)),
        (UDP, (V4, UDP), Adopted(1)),
        (PATH, (V4, PATH), Adopted(1)),
        (ABSTRACT, (PATH, ABSTRACT), Adopted(1)),
        (V4, (UDP,), Unmatched()),
        (PATH, (ABSTRACT,), Unmatched()),
        (Address(Family.INET, Kind.STREAM, "127.0.0.1", 8001), (V4,), Unmatched()),
        (Address(Family.INET, Kind.STREAM, "127.0.0.1", 0), (V4, PATH), Unmatched()),
        (V4, (), Unmatched()),
    ],
)
def test_match(
    wanted: Address, listeners: tuple[Address, ...], expected: Adopted | Unmatched
) -> None:
    assert match(wanted, listeners) == expected


def test_another_family_is_refused_with_the_line_to_write() -> None:
    found = match(V6, (V4,))
    assert isinstance(found, Refused)
    assert "ListenStream=[::1]:8000" in found.message
    assert "127.0.0.1:8000" in found.message


def test_another_family_of_datagrams_names_its_own_setting() -> None:
    found = match(Address(Family.INET6, Kind.DATAGRAM, "::1", 8000), (UDP,))
    assert isinstance(found, Refused)
    assert "ListenDatagram=[::1]:8000" in found.message


@pytest.mark.parametrize(
    ("wanted", "listeners", "expected"),
    [
        (ANY4, (ANY4, ANY6), 0),
        (ANY6, (ANY4, ANY6), 1),
        (ANY6, (V4,), 0),
        (MAPPED, (ANY6,), 0),
        (MAPPED, (ANY6, V4), 1),
        (MAPPED, (ANY4,), 0),
    ],
)
def test_socket_of_both_families(
    wanted: Address, listeners: tuple[Address, ...], expected: int
) -> None:
    """Java and gRPC bind even 127.0.0.1 on an IPv6 socket, Go binds [::] for every address."""
    assert match(wanted, listeners, takes_ipv4=True) == Adopted(expected)


@pytest.mark.parametrize(
    ("wanted", "listener", "takes_ipv4"),
    [(ANY6, ANY4, False), (V6, V4, True), (V4, ANY6, True), (UDP6, UDP, True)],
)
def test_one_family_does_not_stand_for_the_other(
    wanted: Address, listener: Address, takes_ipv4: bool
) -> None:
    assert isinstance(match(wanted, (listener,), takes_ipv4=takes_ipv4), Refused)


OTHER4 = Address(Family.INET, Kind.STREAM, "127.0.0.2", 8000)
REUSE_PORT, REUSE_ADDRESS = Traits(reuse_port=True), Traits(reuse_address=True)


@pytest.mark.parametrize(
    ("first", "has", "second", "wants", "expected"),
    [
        (V4, Traits(), V4, Traits(), True),
        (V4, REUSE_ADDRESS, V4, REUSE_ADDRESS, True),
        (V4, REUSE_PORT, V4, REUSE_PORT, False),
        (V4, REUSE_PORT, V4, Traits(), True),
        (V4, Traits(), V4, REUSE_PORT, True),
        (V4, Traits(), OTHER4, Traits(), False),
        (ANY4, Traits(), V4, Traits(), True),
        (V6, Traits(), ANY6, Traits(), True),
        (UDP, REUSE_ADDRESS, UDP, REUSE_ADDRESS, False),
        (UDP, Traits(), UDP, REUSE_ADDRESS, True),
        (PATH, REUSE_PORT, PATH, Traits(), True),
    ],
)
def test_second_bind(
    first: Address, has: Traits, second: Address, wants: Traits, expected: bool
) -> None:
    assert conflict(first, has, second, wants) is expected


@pytest.mark.parametrize(
    ("first", "wants", "expected"),
    [(V4, REUSE_ADDRESS, False), (V4, Traits(), True), (PATH, REUSE_ADDRESS, True)],
)
def test_second_bind_before_the_first_listens(
    first: Address, wants: Traits, expected: bool
) -> None:
    assert conflict(first, REUSE_ADDRESS, first, wants, listens=False) is expected
