"""--listen: every text is an address or an OperatorError of one line."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sockact.core.errors import OperatorError
from sockact.core.matching import Address, Family, Kind
from sockact.systemd.listeners import parse

STREAM, DATAGRAM = Kind.STREAM, Kind.DATAGRAM

# As argv gives what is not UTF-8, but no NUL, which argv cannot have.
ARGUMENTS = st.binary(max_size=130).map(lambda data: os.fsdecode(data.replace(b"\0", b"")))
PIECES = st.lists(
    st.sampled_from(
        [
            "127.0.0.1",
            "::1",
            "[",
            "]",
            ":",
            "=",
            "@",
            "/",
            "udp:",
            "8000",
            "0",
            "-",
            "%lo",
            "web",
            ".",
        ]
    ),
    max_size=8,
).map("".join)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8000", Address(Family.INET, STREAM, "127.0.0.1", 8000)),
        ("0.0.0.0:1", Address(Family.INET, STREAM, "0.0.0.0", 1)),
        ("[::1]:8000", Address(Family.INET6, STREAM, "::1", 8000)),
        ("[0:0:0:0:0:0:0:1]:65535", Address(Family.INET6, STREAM, "::1", 65535)),
        ("/run/x.sock", Address(Family.UNIX, STREAM, "/run/x.sock")),
        ("/run/a=b:c.sock", Address(Family.UNIX, STREAM, "/run/a=b:c.sock")),
        ("@abstract", Address(Family.UNIX, STREAM, "@abstract")),
        ("udp:127.0.0.1:5300", Address(Family.INET, DATAGRAM, "127.0.0.1", 5300)),
        ("udp:[::1]:5300", Address(Family.INET6, DATAGRAM, "::1", 5300)),
    ],
)
def test_address(text: str, address: Address) -> None:
    assert parse(text)[1] == address
    assert parse(f"web={text}") == ("web", address)


def test_port_alone_takes_both_families_where_there_are_both() -> None:
    address = parse("8000")[1]
    both = os.path.exists("/proc/net/if_inet6")
    assert address.family is (Family.INET6 if both else Family.INET)
    assert address.host == ("::" if both else "0.0.0.0")


def test_name_of_its_own_has_no_colon() -> None:
    """FileDescriptorName= separates names by colons."""
    assert ":" not in parse("[::1]:8000")[0]


@given(st.one_of(ARGUMENTS, PIECES))
@example("1" * 5000)
@example("127.0.0.1:" + "1" * 5000)
@example("127.0.0.1:²")
@example("udp:udp:1")
def test_anything(text: str) -> None:
    try:
        name, address = parse(text)
    except OperatorError as error:
        refusal = str(error)
    else:
        is_written_again(name, address)
        return
    assert refusal.startswith(f"--listen {text}: ")
    assert "127.0.0.1:8000" in refusal


def is_written_again(name: str, address: Address) -> None:
    """What was understood is an address that means the same when it is printed."""
    assert name
    if address.family is Family.UNIX:
        assert address.host[0] in "/@"
        assert address.kind is STREAM
        assert len(os.fsencode(address.host)) < 108
    else:
        assert 0 < address.port < 65536
    assert parse(str(address))[1] == address
