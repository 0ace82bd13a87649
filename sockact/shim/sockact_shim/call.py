"""A call: after the supervisor's signal, connect to it and carry out its orders.

Runs in a signal handler, between any two instructions of the main thread. Takes no lock, logs
nothing, and ends within TIMEOUT seconds, whatever the supervisor does.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import os
import sys

from . import NUDGE, _on_nudge, gate, load, monotonic
from .wire import Wire

try:
    from . import is_foreign
except ImportError:  # the program was started by an earlier version

    def is_foreign(error: BaseException) -> bool:
        """As the original, which is unknown here."""
        return False


TIMEOUT = 10.0
_ORDERS = 64
_VERSION = ".".join(str(part) for part in sys.version_info[:3])
_ROUNDS = 4

# The pid of the process that is answering. Not a flag, because another thread may fork meanwhile,
# and the child answers no call.
_answering = 0
_called_again = False


def answer(supervisor: str) -> None:
    """Answer a call, and those that came during it. Raises OSError if there is no supervisor."""
    global _answering, _called_again
    if _answering == os.getpid():
        _called_again = True
        return
    for _ in range(_ROUNDS):
        _called_again = False
        _answering = os.getpid()
        try:
            _converse(supervisor)
        finally:
            _answering = 0
        # Checked last: a call that comes from here on is answered by its own handler.
        if not _called_again:
            return


def _converse(supervisor: str) -> None:
    until = monotonic() + TIMEOUT
    with Wire(supervisor) as wire:
        # The program may have replaced the handler by one of its own.
        own = " nudge" if _signal.getsignal(NUDGE) is _on_nudge else ""
        wire.send(f"hello {os.getpid()} {_VERSION}{own}")
        for _ in range(_ORDERS):
            words, fd = wire.receive_with_fd()
            try:
                if not words or words == ["end"] or monotonic() > until:
                    return
                wire.send(_outcome(words, fd))
            finally:
                if fd is not None:
                    os.close(fd)


def _outcome(words: list[str], fd: int | None) -> str:
    try:
        return _obey(words) if fd is None else _obey_with(words, fd)
    except Exception as error:
        if is_foreign(error):
            raise
        return f"error {type(error).__name__}: {error}"


def _obey(words: list[str]) -> str:
    if words[:3] == ["gate", "closed", "all"]:
        return f"done gate {gate.close(_inodes(words[3:]), watched=True)}"
    if words[:2] == ["gate", "closed"]:
        return f"done gate {gate.close(_inodes(words[2:]))}"
    if words[:2] == ["gate", "open"]:
        return f"done gate {gate.open(_inodes(words[2:]))}"
    if words[0] == "drain":
        load("shutdown").spare(_inodes(words[1:]))
        return " ".join(["done", "drain", *load("adapters").drain()])
    if words[0] == "spread":
        # An order that is repeated changes nothing.
        if not load("adapters").closing():
            load("spreading.moments").begin(float(words[1]))
        return "done spread"
    if words[:2] == ["close", "websockets"]:
        draining = load("adapters").closing
        return f"done close {load('spreading.websockets').close(float(words[2]), draining)}"
    if words[0] == "spare":
        load("shutdown").spare(_inodes(words[1:]))
        return "done spare"
    if words[0] == "overlay":
        return f"done overlay {load('decoy').bury(_inodes(words[1:]))}"
    if words[0] == "refuse":
        for inode in _inodes(words[1:]):
            load("incoming.orders").refuse(inode)
        return "done refuse"
    if words == ["serve"]:
        load("adapters").serve()
        load("spreading.moments").begin(0.0)
        return "done serve"
    if words == ["reopen"]:
        count, errors = load("reopen").moved()
        return " ! ".join([f"done reopen {count}", *errors])
    if words == ["upgraded"]:
        return " ".join(["done", "upgraded", *map(str, load("upgraded").inodes())])
    if words == ["uncount"]:
        load("counting.page").stop()
        return "done uncount"
    return f"error unknown order {words[0]}"


def _obey_with(words: list[str], fd: int) -> str:
    """Carry out an order that comes with a descriptor."""
    if words == ["count"]:
        return _count(fd)
    if words[:1] == ["accept"] and len(words) == 2:
        return f"done accept {load('incoming.orders').begin(int(words[1]), fd)}"
    return _obey(words)


def _count(page: int) -> str:
    # As in `load`: before the lock that it takes.
    for needed in ("ctypes", "itertools", "math"):
        __import__(needed)
    load("counting.page").start(page)
    return " ".join(["done", "count", *load("adapters").count()])


def _inodes(words: list[str]) -> list[int]:
    return [int(word) for word in words]
