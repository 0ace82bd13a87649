"""The server of RUNTIME/control: passes Varlink calls to a Service, and its answers to clients.

Never blocks. Whatever a client sends, or does not read, no callback of the loop raises. An
exception of the Service is a bug: it is reported, and the client's connection is closed. A
connection without a call costs no timer and no work.
docs/control.md describes the protocol.
"""

from __future__ import annotations

import errno
import time
from functools import partial

import sockact
from sockact.supervisor.base.loop import READ
from sockact.supervisor.control import answers, endpoint, paths, varlink
from sockact.supervisor.control.connection import Connection, PendingCall
from sockact.supervisor.control.interface import (
    CONFIGURATION_REFUSED,
    PAUSE,
    PAUSE_FAILED,
    RELOAD_FAILED,
    ROLLBACK_FAILED,
    TOO_MANY_CONNECTIONS,
    UPGRADE_FAILED,
)
from sockact.supervisor.control.varlink import INTERFACE, Call, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from sockact.supervisor.base.loop import Loop, Timer
    from sockact.supervisor.control.interface import Service
    from sockact.supervisor.control.varlink import JsonObject
    from sockact.supervisor.records.carried_state import CarriedConnection

_STATUS, _UPGRADE = "Status", "Upgrade"
_YOUNG_SECONDS = 1.0
"""Time that a new connection has for its first call before it may be dropped."""
_PUSH_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_NO_RESOURCES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_CANARY_TEXTS = ("canary", "canary_by", "unsure")
_CANARY_OTHERS = ("canary_timeout", "judge")
"""The settings of a canary that a reload may have."""


class Server:
    """Listens on the control socket in `directory`. The caller holds the lock of that."""

    def __init__(
        self, loop: Loop, directory: str, service: Service, listener: socket.socket
    ) -> None:
        """`listener` is the socket of endpoint.listen, which `close` closes."""
        self._loop = loop
        self._service = service
        self._path = paths.control_path(directory)
        self._connections: dict[int, Connection] = {}
        self._subscriptions: set[PendingCall] = set()
        self._timer: Timer | None = None
        self._retry: Timer | None = None
        self._stale = False
        self._listener = listener
        loop.watch(self._listener.fileno(), READ, self._accept)

    def changed(self) -> None:
        """Send the new status to subscribers in the next turn of the loop."""
        if self._subscriptions and not self._stale:
            self._stale = True
            self._schedule(time.monotonic())

    def flush(self) -> None:
        """Send what is due, as far as the clients' buffers take it, without waiting."""
        if self._stale:
            self._push()
        for connection in tuple(self._connections.values()):
            connection.flush()

    def fileno(self) -> int:
        """Return the descriptor of the socket that clients connect to."""
        return self._listener.fileno()

    def busy(self) -> str:
        """Return a call in progress that the next version could not answer; "" if there is none."""
        calls = (one.pending.member for one in self._connections.values() if one.pending)
        return next((call for call in calls if call not in (_STATUS, _UPGRADE)), "")

    def carried(self) -> tuple[CarriedConnection, ...]:
        """Return the clients, for the version that takes over."""
        return tuple(connection.carried() for connection in self._connections.values())

    def take_over(self, clients: tuple[CarriedConnection, ...], before: str) -> None:
        """Serve the clients of the previous version, whose number is `before`."""
        for client in clients:
            connection = Connection(self._loop, endpoint.take_over(client.fd), self, client)
            self._connections[client.fd] = connection
            if client.call == _UPGRADE:
                versions = {"version": sockact.__version__, "before": before}
                connection.send(varlink.encode_reply(versions))
            elif client.call:
                self.handle(connection, Call(f"{INTERFACE}.{client.call}", {}, more=True))

    def close(self) -> None:
        """Flush, close all connections and remove the socket. Calls are not cancelled."""
        if self._listener.fileno() < 0:
            return
        self.flush()
        for connection in tuple(self._connections.values()):
            connection.forget_call()
            connection.drop()
        self._subscriptions.clear()
        for timer in (self._timer, self._retry):
            if timer:
                timer.cancel()
        if self._loop.watched(self._listener.fileno()):
            self._loop.unwatch(self._listener.fileno())
        endpoint.close(self._listener, self._path)

    def _accept(self, _mask: int) -> None:
        try:
            sock = self._listener.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError as error:
            if error.errno not in _NO_RESOURCES:
                raise
            # The client stays in the queue, which would make the loop spin.
            self._loop.unwatch(self._listener.fileno())
            self._retry = self._loop.at(time.monotonic() + _RETRY_SECONDS, self._accept_again)
            return
        sock.setblocking(False)
        if not endpoint.is_permitted(sock):
            endpoint.turn_away(sock, varlink.PERMISSION_DENIED)
        elif not self._make_room():
            endpoint.turn_away(sock, TOO_MANY_CONNECTIONS)
        else:
            self._connections[sock.fileno()] = Connection(self._loop, sock, self)

    def _accept_again(self) -> None:
        self._loop.watch(self._listener.fileno(), READ, self._accept)

    def _make_room(self) -> bool:
        """Make room for one more, if necessary by dropping the oldest without a call.

        Return whether there is room.
        """
        if len(self._connections) < endpoint.connections_limit():
            return True
        old = time.monotonic() - _YOUNG_SECONDS
        for connection in self._connections.values():
            if connection.pending is None and connection.since <= old:
                # A call may be on its way: the client must learn that it was not taken.
                connection.send(varlink.encode_error(Refused(TOO_MANY_CONNECTIONS)))
                connection.drop()
                return True
        return False

    def forget(self, connection: Connection) -> None:
        """Forget a connection that is being dropped; its fd is still open."""
        del self._connections[connection.fd]

    def handle(self, connection: Connection, call: Call) -> None:
        """Answer the call now, or leave it pending."""
        pending = PendingCall(connection, call.member)
        if not call.oneway:
            connection.begin(pending)
        if not self._loop.guard(self._answer, call, pending):
            connection.drop()
        if call.oneway:
            pending.cancel()  # It is carried out, but nobody waits for it.

    def _answer(self, call: Call, pending: PendingCall) -> None:
        try:
            self._dispatch(call, pending)
        except Refused as refusal:
            pending.finish(varlink.encode_error(refusal))

    def _dispatch(self, call: Call, pending: PendingCall) -> None:
        if call.interface == varlink.SERVICE:
            info = {"vendor": "sockact", "product": "sockact", "version": sockact.__version__}
            answer = varlink.answer_service(call, {**info, "url": ""}, [INTERFACE], _describe)
            pending.finish(varlink.encode_reply(answer))
        elif call.interface != INTERFACE:
            raise Refused(varlink.INTERFACE_NOT_FOUND, {"interface": call.interface})
        elif call.member == _STATUS:
            self._status(call, pending)
        elif call.member == "Reload":
            self._reload(call, pending)
        elif call.member == "Rollback":
            call.allow()
            pending.on_leave(self._service.rollback(_handover_to(pending, ROLLBACK_FAILED)))
        elif call.member == "Promote":
            call.allow()
            pending.on_leave(self._service.promote(_handover_to(pending, RELOAD_FAILED)))
        elif call.member == "SetShare":
            call.allow("share")
            self._service.set_share(call.number("share"))
            pending.finish(varlink.encode_reply({}))
        elif call.member == "Pause":
            call.allow("max")
            pending.on_leave(self._service.pause(call.real("max", PAUSE), _paused_to(pending)))
        elif call.member == "Resume":
            call.allow()
            pending.on_leave(self._service.resume(_paused_to(pending)))
        elif call.member == _UPGRADE:
            call.allow()
            pending.on_leave(self._service.upgrade(partial(_refuse, pending, UPGRADE_FAILED)))
        elif call.member == "History":
            call.allow()
            pending.finish(varlink.encode_reply(self._service.history()))
        elif call.member == "Rotate":
            call.allow()
            pending.on_leave(self._service.rotate(partial(_rotated, pending)))
        elif call.member == "Reset":
            call.allow()
            self._service.reset()
            pending.finish(varlink.encode_reply({}))
        elif call.member == "Stop":
            call.allow("now")
            stopped = partial(pending.finish, varlink.encode_reply({}))
            pending.on_leave(self._service.stop(call.flag("now"), stopped))
        else:
            raise Refused(varlink.METHOD_NOT_FOUND, {"method": call.method})

    def _status(self, call: Call, pending: PendingCall) -> None:
        call.allow()
        if not call.more:
            pending.finish(varlink.encode_reply({"status": self._service.status()}))
            return
        pending.on_leave(lambda: self._unsubscribe(pending))
        self._subscriptions.add(pending)
        pending.connection.send(self._status_reply())
        if self._subscriptions and not self._timer:
            self._schedule(time.monotonic() + _PUSH_SECONDS)

    def _reload(self, call: Call, pending: PendingCall) -> None:
        flags = "wait_drained", "force", "exec_reload", "canary_background"
        call.allow(*flags, *_CANARY_TEXTS, *_CANARY_OTHERS)
        done = _handover_to(pending, RELOAD_FAILED)
        drained, force = call.flag("wait_drained"), call.flag("force")
        refuse = partial(_refuse, pending, CONFIGURATION_REFUSED)
        own = call.flag("exec_reload")
        background = call.choice("canary_background")
        pending.on_leave(
            self._service.reload(drained, force, done, refuse, own, _canary(call), background)
        )

    def _status_reply(self) -> bytes:
        return varlink.encode_reply({"status": self._service.status()}, continues=True)

    def _push(self) -> None:
        self._stale = False
        reply = self._status_reply()
        for pending in tuple(self._subscriptions):
            pending.connection.send(reply)
        if self._subscriptions:
            self._schedule(time.monotonic() + _PUSH_SECONDS)

    def _schedule(self, when: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._loop.at(when, self._push)

    def _unsubscribe(self, pending: PendingCall) -> None:
        self._subscriptions.discard(pending)
        if not self._subscriptions and self._timer:
            self._timer.cancel()
            self._timer = None
            self._stale = False


def _handover_to(pending: PendingCall, failure: str) -> Callable[[JsonObject, bool], None]:
    """Return what answers a call with a handover, as an error of this name if it failed."""

    def done(handover: JsonObject, ok: bool) -> None:
        answer = {"handover": handover}
        error = Refused(failure, answer)
        pending.finish(varlink.encode_reply(answer) if ok else varlink.encode_error(error))

    return done


def _canary(call: Call) -> JsonObject:
    """The settings of a canary that are asked for; empty if there is to be none."""
    found: JsonObject = {name: call.text(name) for name in _CANARY_TEXTS}
    found |= {"canary_timeout": call.seconds("canary_timeout"), "judge": call.texts("judge")}
    return {name: value for name, value in found.items() if value} if found["canary"] else {}


def _paused_to(pending: PendingCall) -> Callable[[JsonObject, str], None]:
    """Return what answers a call to pause or to resume, as an error if there is a reason."""

    def done(answer: JsonObject, reason: str) -> None:
        error = Refused(PAUSE_FAILED, {"reason": reason})
        pending.finish(varlink.encode_error(error) if reason else varlink.encode_reply(answer))

    return done


def _rotated(pending: PendingCall, rotation: JsonObject) -> None:
    pending.finish(varlink.encode_reply({"rotation": rotation}))


def _refuse(pending: PendingCall, error: str, reason: str) -> None:
    pending.finish(varlink.encode_error(Refused(error, {"reason": reason})))


def _describe(interface: str) -> str:
    try:
        return answers.description(interface)
    except OSError:
        # The package was removed or replaced while the supervisor runs.
        raise Refused(varlink.INTERFACE_NOT_FOUND, {"interface": interface}) from None
