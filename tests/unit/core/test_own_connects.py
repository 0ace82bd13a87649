"""Which connections of a program are to its own address."""

from __future__ import annotations

import pytest

from sockact.core.matching import Address, Family, Kind
from sockact.core.own_connects import is_own, known_lengths, lengths
from sockact.systemd.listeners import parse


def address(text: str) -> Address:
    return parse(text)[1]


MAPPED = Address(Family.INET6, Kind.STREAM, "::ffff:127.0.0.1", 80)


@pytest.mark.parametrize(
    ("wanted", "listener", "expected"),
    [
        ("127.0.0.1:80", "127.0.0.1:80", True),
        ("127.0.0.1:80", "0.0.0.0:80", True),
        ("127.0.0.1:80", "[::]:80", True),
        ("[::1]:80", "[::]:80", True),
        ("0.0.0.0:80", "127.0.0.1:80", True),
        ("192.0.2.1:80", "192.0.2.1:80", True),
        ("127.0.0.1:81", "127.0.0.1:80", False),
        ("192.0.2.1:80", "0.0.0.0:80", False),
        ("192.0.2.1:80", "[::]:80", False),
        ("[::1]:80", "0.0.0.0:80", False),
        ("udp:127.0.0.1:80", "127.0.0.1:80", False),
        ("udp:127.0.0.1:80", "udp:127.0.0.1:80", False),
        ("/run/a", "/run/a", True),
        ("/run/a", "/run/b", False),
        ("/run/a", "127.0.0.1:80", False),
    ],
)
def test_is_own(wanted: str, listener: str, expected: bool) -> None:
    assert is_own(address(wanted), address(listener)) is expected


def test_mapped_address() -> None:
    assert is_own(MAPPED, address("127.0.0.1:80"))
    assert is_own(MAPPED, address("[::]:80"))


def test_lengths() -> None:
    assert lengths([address("127.0.0.1:80")]) == {16, 128}
    assert lengths([address("[::]:80")]) == {16, 28, 128}
    assert lengths([address("/run/x")]) == {*range(3, 111)} - {12, 16, 28}
    assert 16 in lengths([address("/run/abcdefgh")])
    assert lengths([address("udp:127.0.0.1:80")]) == set()


@pytest.mark.parametrize(
    ("command", "listener", "expected"),
    [
        ("/usr/sbin/php-fpm8.2 --nodaemonize", "/run/x", True),
        ("/usr/bin/bundle exec puma -C config/puma.rb", "/run/x", True),
        ("ruby /srv/app/bin/unicorn", "/run/x", True),
        ("php-fpm", "127.0.0.1:80", False),
        ("php-fpm", "@x", False),
        ("pumad", "/run/x", False),
    ],
)
def test_known_programs(command: str, listener: str, expected: bool) -> None:
    assert known_lengths(command.split(), [address(listener)]) == ({110} if expected else set())
