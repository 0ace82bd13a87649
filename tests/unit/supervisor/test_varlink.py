"""The Varlink protocol: framing, calls and replies, and every kind of garbage."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from varlink.scanner import Interface  # type: ignore[import-untyped, unused-ignore]

from sockact.supervisor.control import varlink
from sockact.supervisor.control.varlink import Call, Malformed, Receiver, Refused
from tests import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

DESCRIPTION = Path(varlink.__file__).with_name(f"{varlink.INTERFACE}.varlink")
INFO = {"vendor": "v", "product": "p", "version": "1", "url": "u"}

GARBAGE = {
    "empty": b"",
    "binary": b"\xff\xfe\x80",
    "text": b"hello",
    "byte order mark": b'\xef\xbb\xbf{"method": "a.B"}',
    "array": b"[]",
    "string": b'"a.B"',
    "null": b"null",
    "nan": b'{"method": "a.B", "parameters": {"x": NaN}}',
    "infinity": b'{"method": "a.B", "parameters": {"x": -Infinity}}',
    "deep array": b"[" * 60_000,
    "deep object": b'{"a":' * 12_000,
    "deep parameter": b'{"method":"a.B","parameters":{"x":' + b"[" * 30_000 + b"]" * 30_000 + b"}}",
    "huge number": b'{"method": "a.B", "parameters": {"x": ' + b"9" * 60_000 + b"}}",
    "two objects": b"{}{}",
    "truncated": b'{"method": "a.B"',
}

NO_CALLS: list[dict[str, Any]] = [
    {},
    {"method": None},
    {"method": 1},
    {"method": ["a.B"]},
    {"method": "NoInterface"},
    {"method": "a." + "B" * 300},
    {"method": "a.B", "parameters": []},
    {"method": "a.B", "parameters": "x"},
    {"method": "a.B", "more": 1},
    {"method": "a.B", "oneway": "yes"},
    {"method": "a.B", "upgrade": True},
    {"method": "a.B", "more": True, "oneway": True},
]


def take(data: bytes, limit: int = varlink.LIMIT) -> dict[str, Any] | None:
    receiver = Receiver(limit)
    receiver.feed(data)
    return receiver.take()


@pytest.mark.parametrize("name", GARBAGE)
def test_garbage_is_malformed(name: str) -> None:
    with pytest.raises(Malformed) as caught:
        take(GARBAGE[name] + b"\0")
    assert caught.value.name == varlink.INVALID_MESSAGE
    assert caught.value.parameters["reason"]


@pytest.mark.parametrize("message", NO_CALLS, ids=str)
def test_objects_that_are_no_calls(message: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        varlink.parse_call(message)


def test_a_message_may_have_just_the_limit() -> None:
    message = b'{"a":"' + b"x" * 92 + b'"}'
    assert len(message) == 100
    assert take(message + b"\0", limit=100) == {"a": "x" * 92}
    with pytest.raises(Malformed, match="99 bytes"):
        take(message + b"\0", limit=99)


def test_a_message_without_end_is_refused_as_soon_as_it_is_too_long() -> None:
    receiver = Receiver(100)
    receiver.feed(b"x" * 100)
    assert not receiver.ready()
    assert receiver.take() is None
    receiver.feed(b"x")
    assert receiver.ready()
    with pytest.raises(Malformed):
        receiver.take()


def test_a_malformed_stream_stays_malformed() -> None:
    receiver = Receiver()
    receiver.feed(b"nonsense\0{}\0")
    with pytest.raises(Malformed):
        receiver.take()
    receiver.feed(b"{}\0")
    assert receiver.ready()
    with pytest.raises(Malformed):
        receiver.take()


@given(
    st.lists(st.dictionaries(st.text(), st.integers() | st.text() | st.none()), max_size=5),
    st.lists(st.integers(1, 20), min_size=1),
)
def test_messages_survive_any_segmentation(messages: list[Any], sizes: list[int]) -> None:
    data = b"".join(json.dumps(message).encode() + b"\0" for message in messages)
    receiver = Receiver()
    received = []
    turn = 0
    while data:
        size = sizes[turn % len(sizes)]
        receiver.feed(data[:size])
        data = data[size:]
        turn += 1
        while receiver.ready():
            received.append(receiver.take())
    assert received == messages
    assert receiver.buffered == 0
    assert receiver.take() is None


@given(st.lists(st.binary(max_size=300), max_size=10))
def test_any_bytes_give_messages_or_refusals(chunks: list[bytes]) -> None:
    receiver = Receiver(256)
    for chunk in chunks:
        receiver.feed(chunk)
        with contextlib.suppress(Malformed):
            while receiver.ready():
                message = receiver.take()
                assert message is not None
                varlink.parse_call(message)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
FIELDS = ("method", "parameters", "more", "oneway", "upgrade", "error", "continues")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_any_object_is_a_message_or_refused(message: dict[str, Any]) -> None:
    for parse in (varlink.parse_call, varlink.parse_reply):
        with contextlib.suppress(Malformed):
            parse(message)


@given(st.dictionaries(st.text(), JSON), st.sampled_from([(0, 0), (0, 1), (1, 0)]))
def test_a_call_survives_the_trip(parameters: dict[str, Any], flags: tuple[int, int]) -> None:
    call = Call("org.example.Do", parameters, more=bool(flags[0]), oneway=bool(flags[1]))
    message = take(varlink.encode_call(call), limit=1 << 20)
    assert message is not None
    assert varlink.parse_call(message) == call


def test_replies_survive_the_trip() -> None:
    # A lone surrogate stands for a byte of a file name that is not UTF-8.
    parameters = {"text": "\udcff\0 ü"}

    def parsed(data: bytes) -> varlink.Reply:
        message = take(data)
        assert message is not None
        return varlink.parse_reply(message)

    assert parsed(varlink.encode_reply(parameters)) == varlink.Reply(parameters)
    more = varlink.encode_reply(parameters, continues=True)
    assert parsed(more) == varlink.Reply(parameters, continues=True)
    error = varlink.encode_error(Refused("a.B", parameters))
    assert parsed(error) == varlink.Reply(parameters, error="a.B")


def test_absent_and_null_are_the_same() -> None:
    nulls = {"method": "a.b.C", "parameters": None, "more": None, "oneway": None, "upgrade": None}
    call = varlink.parse_call(nulls)
    assert call == varlink.parse_call({"method": "a.b.C"}) == Call("a.b.C", {})
    assert (call.interface, call.member) == ("a.b", "C")
    assert not Call("a.B", {"now": None}).flag("now")


def test_parameters_are_checked() -> None:
    call = Call("a.B", {"now": True, "other": 1})
    assert call.flag("now")
    assert not call.flag("absent")
    with pytest.raises(Refused) as caught:
        call.allow("now")
    assert caught.value.name == varlink.INVALID_PARAMETER
    assert caught.value.parameters == {"parameter": "other"}
    with pytest.raises(Refused):
        call.flag("other")


def describe(name: str) -> str:
    return f"interface {name}"


def answer(method: str, **parameters: object) -> dict[str, Any]:
    call = Call(f"{varlink.SERVICE}.{method}", parameters)
    return varlink.answer_service(call, INFO, ["a.b"], describe)


def test_the_service_describes_itself() -> None:
    assert answer("GetInfo") == {**INFO, "interfaces": [varlink.SERVICE, "a.b"]}
    assert answer("GetInterfaceDescription", interface="a.b") == {"description": "interface a.b"}
    own = answer("GetInterfaceDescription", interface=varlink.SERVICE)["description"]
    assert "GetInfo" in Interface(own).members


@pytest.mark.parametrize(
    ("ask", "name"),
    [
        (lambda: answer("GetInfo", x=1), varlink.INVALID_PARAMETER),
        (lambda: answer("GetInterfaceDescription"), varlink.INVALID_PARAMETER),
        (lambda: answer("GetInterfaceDescription", interface=1), varlink.INVALID_PARAMETER),
        (lambda: answer("GetInterfaceDescription", interface="x.y"), varlink.INTERFACE_NOT_FOUND),
        (lambda: answer("Other"), varlink.METHOD_NOT_FOUND),
    ],
)
def test_the_service_refuses(ask: Callable[[], object], name: str) -> None:
    with pytest.raises(Refused) as caught:
        ask()
    assert caught.value.name == name
    assert not isinstance(caught.value, Malformed)


def test_the_description_is_varlink() -> None:
    interface = Interface(DESCRIPTION.read_text())
    assert interface.name == varlink.INTERFACE
    # A duplicate name would appear once.
    declared = [
        line.split()[1].partition("(")[0]
        for line in DESCRIPTION.read_text().splitlines()
        if line.startswith(("type ", "method ", "error "))
    ]
    assert list(interface.members) == declared


def test_the_documentation_shows_the_same_interface() -> None:
    section = (ROOT / "docs/control.md").read_text().partition(f"## Interface {varlink.INTERFACE}")
    block = section[2].split("```")[1].strip().splitlines()
    head, _, *lines = DESCRIPTION.read_text().splitlines()
    assert head == f"interface {varlink.INTERFACE}"
    assert block == lines
