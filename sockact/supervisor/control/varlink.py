"""The Varlink wire protocol as a pure machine: bytes in, messages or a refusal out.

A message is one JSON object, ended by one NUL byte. A connection feeds what it receives to a
Receiver and takes one message at a time out of it; `parse_call` and `parse_reply` say what the
message is. Whatever bytes come in, the only exception that comes out is Refused: as Malformed, the
stream has lost its meaning, and the connection must be closed once the error is sent; otherwise
only this one call failed.

This module must do no I/O. See https://varlink.org/Method-Call for the protocol.
"""

from __future__ import annotations

from sockact.core import json_text
from sockact.core.numbers import LONGEST
from sockact.core.record import dataclass

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from typing import Any, TypeAlias

    JsonObject: TypeAlias = dict[str, Any]

LIMIT = 64 * 1024
"""Bytes that a call may have, without its NUL."""

SERVICE = "org.varlink.service"
METHOD_NOT_FOUND = f"{SERVICE}.MethodNotFound"
INTERFACE_NOT_FOUND = f"{SERVICE}.InterfaceNotFound"
INVALID_PARAMETER = f"{SERVICE}.InvalidParameter"
PERMISSION_DENIED = f"{SERVICE}.PermissionDenied"

INTERFACE = "org.sockact.Service"
INVALID_MESSAGE = f"{INTERFACE}.InvalidMessage"

SERVICE_DESCRIPTION = f"""\
# What every Varlink service answers.
interface {SERVICE}

method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)
method GetInterfaceDescription(interface: string) -> (description: string)
error InterfaceNotFound (interface: string)
error MethodNotFound (method: string)
error MethodNotImplemented (method: string)
error InvalidParameter (parameter: string)
error PermissionDenied ()
"""

# Longer names are nobody's method or parameter, and would only come back in an error.
_NAME_LIMIT = 255
_LARGEST = 1e15
# In a message: `[{},{},…` takes 24 times as much memory once it is read.
_PARTS_LIMIT = 200_000


class Refused(Exception):
    """A call is answered with the error `name`, fully qualified, and its `parameters`."""

    def __init__(self, name: str, parameters: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.parameters: JsonObject = dict(parameters or {})
        super().__init__(name, self.parameters)


class Malformed(Refused):
    """What came is no call: the connection is to be closed after the error."""


@dataclass(frozen=True)
class Call:
    """A method call. At most one of `more` and `oneway` is set."""

    method: str
    parameters: JsonObject
    more: bool = False
    oneway: bool = False

    @property
    def interface(self) -> str:
        return self.method.rpartition(".")[0]

    @property
    def member(self) -> str:
        return self.method.rpartition(".")[2]

    def allow(self, *names: str) -> None:
        """Refuse every parameter but these."""
        for name in self.parameters:
            if name not in names:
                raise invalid_parameter(name)

    def flag(self, name: str) -> bool:
        """The parameter `name: ?bool`, False when it is absent."""
        return bool(self.choice(name))

    def choice(self, name: str) -> bool | None:
        """The parameter `name: ?bool`, None when it is absent."""
        value = self.parameters.get(name)
        if value is not None and not isinstance(value, bool):
            raise invalid_parameter(name)
        return value

    def text(self, name: str) -> str:
        """The parameter `name: ?string`, "" when it is absent."""
        value = self.parameters.get(name)
        if value is not None and not isinstance(value, str):
            raise invalid_parameter(name)
        return value or ""

    def texts(self, name: str) -> tuple[str, ...]:
        """The parameter `name: ?[]string`, empty when it is absent."""
        values = self.parameters.get(name) or []
        if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
            raise invalid_parameter(name)
        return tuple(values)

    def real(self, name: str, default: float) -> float:
        """The parameter `name: ?float`, or this default when it is absent."""
        value = self.parameters.get(name)
        if value is None:
            return default
        # JSON can have integers that no float can hold.
        if type(value) not in (int, float) or not abs(value) <= _LARGEST:
            raise invalid_parameter(name)
        return float(value)

    def seconds(self, name: str) -> float:
        """The parameter `name: ?float`, 0 when it is absent."""
        value = self.real(name, 0.0)
        if not 0 <= value < LONGEST:
            raise invalid_parameter(name)
        return value

    def number(self, name: str) -> int:
        """The parameter `name: int`."""
        value = self.parameters.get(name)
        if not isinstance(value, int) or isinstance(value, bool):
            raise invalid_parameter(name)
        return value


@dataclass(frozen=True)
class Reply:
    """An answer: `error` is None, or the name of the error that `parameters` belong to."""

    parameters: JsonObject
    continues: bool = False
    error: str | None = None


class Receiver:
    """Cuts a stream into messages of at most `limit` bytes each."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()
        self._searched = 0
        self._failure: Malformed | None = None

    @property
    def buffered(self) -> int:
        """The number of bytes that were fed and not yet taken."""
        return len(self._buffer)

    @property
    def held(self) -> bytes:
        """The bytes that were fed and not yet taken."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def ready(self) -> bool:
        """Whether `take` would give a message, or raise, rather than wait for more bytes."""
        return self._failure is not None or self._end() >= 0 or len(self._buffer) > self._limit

    def take(self) -> JsonObject | None:
        """The next message, or None when it is not complete.

        Raises Malformed when it is too long or no JSON object, and from then on always.
        """
        if self._failure is None:
            try:
                return self._take()
            except Malformed as failure:
                self._failure = failure
                self._buffer.clear()
        raise self._failure

    def _take(self) -> JsonObject | None:
        end = self._end()
        if (len(self._buffer) if end < 0 else end) > self._limit:
            raise invalid_message(f"the message is longer than {self._limit} bytes")
        if end < 0:
            return None
        message = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        self._searched = 0
        return _decode(message)

    def _end(self) -> int:
        """Where the first message ends, or -1. What was searched is not searched again."""
        end = self._buffer.find(0, self._searched)
        self._searched = len(self._buffer) if end < 0 else end
        return end


def encode_call(call: Call) -> bytes:
    message: JsonObject = {"method": call.method, "parameters": call.parameters}
    if call.more:
        message["more"] = True
    if call.oneway:
        message["oneway"] = True
    return _encode(message)


def encode_reply(parameters: Mapping[str, Any], *, continues: bool = False) -> bytes:
    message: JsonObject = {"parameters": parameters}
    if continues:
        message["continues"] = True
    return _encode(message)


def encode_error(refusal: Refused) -> bytes:
    return _encode({"error": refusal.name, "parameters": refusal.parameters})


def parse_call(message: JsonObject) -> Call:
    """Raises Malformed when the message is not a method call that can be made here."""
    method = message.get("method")
    if not isinstance(method, str) or "." not in method or len(method) > _NAME_LIMIT:
        raise invalid_message("'method' must be the name of a method, such as org.example.Run.Go")
    more, oneway, upgrade = (_flag(message, key) for key in ("more", "oneway", "upgrade"))
    if upgrade:
        raise invalid_message("'upgrade' is not supported")
    if more and oneway:
        raise invalid_message("'more' and 'oneway' are mutually exclusive")
    return Call(method, _parameters(message), more, oneway)


def parse_reply(message: JsonObject) -> Reply:
    """Raises Malformed when the message is not a reply."""
    error = message.get("error")
    if error is not None and (not isinstance(error, str) or len(error) > _NAME_LIMIT):
        raise invalid_message("'error' must be the name of an error")
    return Reply(_parameters(message), _flag(message, "continues"), error)


def answer_service(
    call: Call,
    info: Mapping[str, str],
    interfaces: Collection[str],
    describe: Callable[[str], str],
) -> JsonObject:
    """Answer a call of org.varlink.service; raises Refused.

    `info` has vendor, product, version and url; `describe` gives the text of one of `interfaces`.
    """
    if call.member == "GetInfo":
        call.allow()
        return {**info, "interfaces": [SERVICE, *interfaces]}
    if call.member == "GetInterfaceDescription":
        call.allow("interface")
        name = call.parameters.get("interface")
        if not isinstance(name, str):
            raise invalid_parameter("interface")
        if name == SERVICE:
            return {"description": SERVICE_DESCRIPTION}
        if name not in interfaces:
            raise Refused(INTERFACE_NOT_FOUND, {"interface": name[:_NAME_LIMIT]})
        return {"description": describe(name)}
    raise Refused(METHOD_NOT_FOUND, {"method": call.method})


def invalid_message(reason: str) -> Malformed:
    return Malformed(INVALID_MESSAGE, {"reason": reason})


def invalid_parameter(name: str) -> Refused:
    return Refused(INVALID_PARAMETER, {"parameter": name[:_NAME_LIMIT]})


def _encode(message: JsonObject) -> bytes:
    return json_text.compact(message).encode("ascii") + b"\0"


def _decode(data: bytes) -> JsonObject:
    if sum(map(data.count, (b",", b"[", b"{"))) > _PARTS_LIMIT:
        raise invalid_message(f"the message has more than {_PARTS_LIMIT} parts")
    try:
        message = json_text.decode(data.decode("utf-8"))
    except (ValueError, RecursionError):
        # ValueError also stands for bytes that are not UTF-8 and for numbers of absurd length.
        raise invalid_message("the message is not valid JSON") from None
    if not isinstance(message, dict):
        raise invalid_message("the message is not a JSON object")
    return message


def _flag(message: JsonObject, key: str) -> bool:
    value = message.get(key)
    if value is not None and not isinstance(value, bool):
        raise invalid_message(f"'{key}' must be true or false")
    return bool(value)


def _parameters(message: JsonObject) -> JsonObject:
    value = message.get("parameters")
    if value is not None and not isinstance(value, dict):
        raise invalid_message("'parameters' must be a JSON object")
    return value or {}
