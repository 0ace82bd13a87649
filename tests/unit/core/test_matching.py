"""Which listener a bind belongs to."""

from __future__ import annotations

import pytest

from sockact.core.matching import Address, Adopted, Family, Kind, Refused, Unmatched, match

V4 = Address(Family.INET, Kind.STREAM, "127.0.0.1", 8000)
ANY4 = Address(Family.INET, Kind.STREAM, "0.0.0.0", 8000)
V6 = Address(Family.INET6, Kind.STREAM, "::1", 8000)
UDP = Address(Family.INET, Kind.DATAGRAM, "127.0.0.1", 8000)
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
