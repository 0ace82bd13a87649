"""A blocking client of the control socket, for the command line.

Every wait has the deadline that the caller gives, in seconds; None waits for ever. All failures
are ControlErrors, whose text is one line without a full stop.

Where the supervisor has no room for one more client, connecting and calling try again until then,
with growing pauses. A connection that is lost without that answer is not tried again: its call may
have been taken.

What listens need not be a supervisor: root may call what another user has put there. The socket is
found by descriptors, past no link of another user; its owner must be that of the directory; and an
answer must be what the interface describes. A call without an answer for some time asks, over
another connection, whether anybody is there at all, so that no call waits for ever for a supervisor
that has stopped.
"""

from __future__ import annotations

import _socket  # What `socket` adds to it takes longer to load than a call takes.
import os
import stat
import time

from sockact.core.record import replace
from sockact.supervisor.control import answers, interface, paths, varlink
from sockact.trust import peer, walk

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.control.varlink import JsonObject, Reply

# The largest is a History with every character escaped.
_REPLY_LIMIT = 4 * 1024 * 1024
_READ_SIZE = 64 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_SILENCE = 5.0
"""Seconds without an answer after which the supervisor is asked for a sign of life."""
_SIGN_OF_LIFE = 5.0
"""Seconds for that."""
_MOST_LOST = 12
"""How often that may fail otherwise: one that ends removes its socket some time before."""


class ControlError(Exception):
    """The call was not answered, or not with a result."""


class NotRunning(ControlError):
    """No process listens in `directory`."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        super().__init__(f"no supervisor is listening in {directory}")


class NotPermitted(ControlError):
    """The control socket belongs to another user."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        super().__init__(
            f"{directory} belongs to another user; run the command as that user or as root"
        )


class Timeout(ControlError):
    """The supervisor did not answer in time."""

    def __init__(self, directory: str, seconds: float | None) -> None:
        self.directory = directory
        after = "" if seconds is None else f" within {round(seconds, 1 if seconds >= 1 else 2):g} s"
        super().__init__(f"the supervisor in {directory} did not answer{after}")


class Disconnected(ControlError):
    """The supervisor closed the connection, or died, before it answered."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        super().__init__(f"the supervisor in {directory} closed the connection before it answered")


class Silent(ControlError):
    """The supervisor answers nothing at all."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        super().__init__(f"the supervisor in {directory} does not respond at all")


class Impostor(ControlError):
    """Another user than the owner of `directory` listens in it."""

    def __init__(self, directory: str, user: int, owner: int) -> None:
        self.directory = directory
        super().__init__(
            f"a process of user {user} listens in {directory}, which belongs to user {owner}; "
            f"nothing was sent to it"
        )


class RemoteError(ControlError):
    """The supervisor answered with an error: its fully qualified name and its parameters."""

    def __init__(self, name: str, parameters: JsonObject) -> None:
        self.name = name
        self.parameters = parameters
        super().__init__(f"the supervisor answered {name} {parameters}")


class Client:
    """A connection to the supervisor whose control socket is in `directory`.

    `timeout` is for connecting and for sending, and for each answer where none is given.
    """

    def __init__(self, directory: str, timeout: float | None = 10.0) -> None:
        """Connects. Raises ControlError, and paths.RuntimeDirError when the path is too long."""
        self.directory = directory
        self._timeout = timeout
        self._method = ""
        self._lost = 0
        self._path = paths.control_path(directory)
        self._connect(_Patience(timeout))

    def _connect(self, patience: _Patience) -> None:
        self._receiver = varlink.Receiver(_REPLY_LIMIT)
        try:
            self._sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
            try:
                with walk.find(self._path, foreign_links=False) as found:
                    self._connect_to(found, patience)
                    self._check_peer(os.fstat(found.parent))
            except BaseException:
                self._sock.close()
                raise
        except OSError as error:
            raise self._explain(error) from error

    def _connect_to(self, found: walk.Found, patience: _Patience) -> None:
        if not stat.S_ISSOCK(found.stat().st_mode):
            raise NotRunning(self.directory)
        while True:
            self._sock.settimeout(patience.left(at_least=0.001))
            try:
                # The very socket that was found: unix(7) itself would follow links.
                self._sock.connect(f"/proc/self/fd/{found.fd}")
                return
            except BlockingIOError:
                # The queue of connections that the supervisor has not accepted yet is full.
                if not patience.pause():
                    raise

    def _check_peer(self, directory: os.stat_result) -> None:
        """Raise Impostor unless the owner of the directory listens, or nobody but root and this
        user can write to the directory.
        """
        if (user := peer.credentials(self._sock)[1]) == directory.st_uid:
            return
        if directory.st_uid not in walk.trusted() or directory.st_mode & 0o022:
            raise Impostor(self.directory, user, directory.st_uid)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        self._sock.close()

    @property
    def supervisor(self) -> int:
        """The pid of whoever listens, as the kernel knows it; 0 in another pid namespace."""
        return peer.credentials(self._sock)[0]

    def fileno(self) -> int:
        """Return the descriptor to wait for the next reply with; look at `buffered` first."""
        return self._sock.fileno()

    def buffered(self) -> bool:
        """Whether `receive` returns without waiting."""
        return self._receiver.ready()

    def call(
        self, method: str, parameters: JsonObject | None = None, timeout: float | None = None
    ) -> JsonObject:
        """Call a method of org.sockact.Service and return its result; without a timeout, wait as
        long as the supervisor shows signs of life.
        """
        patience = _Patience(timeout)
        while True:
            try:
                self.send(method, parameters)
                return self._receive(patience).parameters
            except RemoteError as error:
                if error.name != interface.TOO_MANY_CONNECTIONS or not patience.pause():
                    raise
            self.close()
            self._connect(patience)

    def send(
        self, method: str, parameters: JsonObject | None = None, *, more: bool = False
    ) -> None:
        """Send a call whose replies are then taken with `receive`."""
        self._method = method
        self._send(varlink.Call(f"{varlink.INTERFACE}.{method}", parameters or {}, more))

    def _send(self, call: varlink.Call) -> None:
        self._sock.settimeout(self._timeout)
        try:
            self._sock.sendall(varlink.encode_call(call), _socket.MSG_NOSIGNAL)
        except (BrokenPipeError, ConnectionResetError):
            # Turned away: the reason is there to be read.
            return
        except OSError as error:
            raise self._explain(error) from error

    def receive(self, timeout: float | None = None) -> Reply:
        """The next reply. Raises RemoteError when it is an error."""
        return self._receive(_Patience(timeout))

    def arrived(self) -> Reply | None:
        """The next reply, if it can be had without waiting. Raises as `receive` does."""
        if not self.buffered():
            self._sock.settimeout(0)
            try:
                self._feed(self._sock.recv(_READ_SIZE))
            except BlockingIOError:
                return None
            except OSError as error:
                raise self._explain(error) from error
        reply = self._take()
        return None if reply is None else self._checked(reply)

    def _receive(self, patience: _Patience) -> Reply:
        while (reply := self._take()) is None:
            self._read(patience)
        return self._checked(reply)

    def _checked(self, reply: Reply) -> Reply:
        try:
            if reply.error is not None:
                parameters = answers.error(reply.error, reply.parameters)
                raise RemoteError(reply.error, parameters)
            return replace(reply, parameters=answers.result(self._method, reply.parameters))
        except answers.Unfit as error:
            raise self._not_ours(str(error)) from None

    def _show_life(self) -> None:
        """Whether the supervisor answers anything at all. Raises Silent."""
        try:
            with Client(self.directory, _SIGN_OF_LIFE) as other:
                other._method = ""
                other._send(varlink.Call(f"{varlink.SERVICE}.GetInfo", {}))
                other.receive(_SIGN_OF_LIFE)
        except RemoteError:
            pass  # It has no room, and says so.
        except ControlError as error:
            self._lost += 1
            if isinstance(error, Timeout) or self._lost > _MOST_LOST:
                raise Silent(self.directory) from error

    def _take(self) -> Reply | None:
        try:
            message = self._receiver.take()
            return None if message is None else varlink.parse_reply(message)
        except varlink.Malformed as failure:
            raise self._not_ours(failure.parameters["reason"]) from None

    def _not_ours(self, reason: str) -> ControlError:
        return ControlError(
            f"the process that listens in {self.directory} is not a sockact supervisor: {reason}"
        )

    def _read(self, patience: _Patience) -> None:
        remaining = patience.left()
        if remaining is not None and remaining <= 0:
            raise Timeout(self.directory, patience.seconds)
        patient = remaining is None or remaining > _SILENCE + _SIGN_OF_LIFE
        self._sock.settimeout(_SILENCE if patient else remaining)
        try:
            data = self._sock.recv(_READ_SIZE)
        except TimeoutError as error:
            if patient:
                return self._show_life()
            raise Timeout(self.directory, patience.seconds) from error
        except OSError as error:
            raise self._explain(error) from error
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        if not data:
            raise Disconnected(self.directory)
        self._receiver.feed(data)

    def _explain(self, error: OSError) -> ControlError:
        if isinstance(error, FileNotFoundError | NotADirectoryError | ConnectionRefusedError):
            return NotRunning(self.directory)
        if isinstance(error, PermissionError):
            return NotPermitted(self.directory)
        if isinstance(error, BrokenPipeError | ConnectionResetError):
            return Disconnected(self.directory)
        if isinstance(error, TimeoutError | BlockingIOError):
            return Timeout(self.directory, self._timeout)
        return ControlError(f"cannot call the supervisor in {self.directory}: {error.strerror}")


class _Patience:
    """The time that is left, in seconds, and the pauses until the next attempt."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._next_pause = _FIRST_PAUSE

    def left(self, at_least: float | None = None) -> float | None:
        """Return the seconds that are left; None means for ever."""
        if self._deadline is None:
            return None
        left = self._deadline - time.monotonic()
        return left if at_least is None else max(left, at_least)

    def pause(self) -> bool:
        """Wait a while before trying again; False when no time would be left for the attempt."""
        left = self.left()
        if left is not None and left <= _FIRST_PAUSE:
            return False
        time.sleep(self._next_pause if left is None else min(self._next_pause, left - _FIRST_PAUSE))
        self._next_pause = min(2 * self._next_pause, _LONGEST_PAUSE)
        return True
