"""Why there are no lanes: one line, with what to write."""

from __future__ import annotations

import errno
import os

import pytest

from sockact.core.lanes import missing
from sockact.core.matching import Address, Family, Kind

WEB = Address(Family.INET, Kind.STREAM, "10.0.0.1", 80)
DNS = Address(Family.INET6, Kind.DATAGRAM, "::1", 53)
WRITE = (
    "write ListenStream=10.0.0.1:80 3 times and ReusePort=yes in the .socket unit, as "
    "`sockact init --listen-lanes 3 …` does"
)


def unopened(number: int, *, passed: bool = True) -> str:
    return missing.unopened(WEB, OSError(number, os.strerror(number)), passed=passed)


@pytest.mark.parametrize(
    ("number", "why"),
    [
        (errno.EPERM, "another user's service manager has opened it"),
        (errno.EACCES, "its port is privileged"),
        (errno.EADDRINUSE, "Address already in use"),
    ],
)
def test_a_socket_of_systemd(number: int, why: str) -> None:
    assert unopened(number) == f"cannot open another socket at 10.0.0.1:80: {why}; {WRITE}"


def test_a_socket_of_our_own() -> None:
    told = "cannot open another socket at 10.0.0.1:80: Too many open files; use --lanes off"
    assert unopened(errno.EMFILE, passed=False) == told


def test_an_old_kernel() -> None:
    assert "SO_ATTACH_REUSEPORT_CBPF, Linux 4.5" in unopened(errno.ENOPROTOOPT)


def test_each_is_one_line_that_names_a_way() -> None:
    path = Address(Family.UNIX, Kind.STREAM, "/run/web.sock")
    told = (missing.OFF, missing.unix(path), missing.single(WEB), missing.single(DNS))
    for one in told:
        assert "\n" not in one
        assert "--listen-lanes 3" in one
    assert "--lanes auto" in missing.OFF
    assert "ListenDatagram=[::1]:53 3 times" in missing.single(DNS)
    assert "use --lanes off" in missing.multicast(DNS)
