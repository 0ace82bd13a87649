"""Messages to systemd: sd_notify(3), with the sdnotify library.

Only the supervisor sends to $NOTIFY_SOCKET (NotifyAccess=main, MAINPID never changes). A draining
generation must not, because STOPPING=1 is final from systemd 259 on.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time

from sockact.core.numbers import whole
from sockact.systemd.fdstore import TRIAL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


_LONGEST = 500
_TRIAL_SECONDS = 1.0
# systemd answers the barrier first, and closes what it does not store in another process.
_CLOSED_WITHIN = 0.1
_AGAIN = (errno.EAGAIN, errno.ENOBUFS, errno.EINTR)


class Notifier:
    """The connection to systemd. Does nothing if there is no $NOTIFY_SOCKET.

    A message for which the receiver's queue has no room is kept; call `flush` when the socket
    becomes writable.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._socket: socket.socket | None = None
        self._files: dict[str, tuple[str, int | None]] = {}
        self.stores = True
        """Whether systemd stores descriptors for this service, as far as is known."""
        self._states: list[tuple[str, str]] = []
        self._status: str | None = None
        self.error = ""
        """Why a message could not be sent although $NOTIFY_SOCKET is set."""
        if not environment.get("NOTIFY_SOCKET"):
            return
        from sdnotify import SystemdNotifier

        try:
            # The library finds and connects the socket, but can only send Latin-1.
            self._socket = SystemdNotifier(debug=True).socket
        except OSError as error:
            self.error = f"NOTIFY_SOCKET={environment['NOTIFY_SOCKET']}: {error.strerror}"
        else:
            # A receiver that does not read must not block the supervisor.
            self._socket.setblocking(False)

    @property
    def active(self) -> bool:
        return self._socket is not None

    @property
    def undelivered(self) -> bool:
        """Whether a message waits for `flush`."""
        return bool(self._files or self._states) or self._status is not None

    def fileno(self) -> int:
        """The descriptor to watch for writability. Only if `active`."""
        assert self._socket
        return self._socket.fileno()

    def close(self) -> None:
        for name in tuple(self._files):
            self._take_back(name)
        if self._socket:
            self._socket.close()
            self._socket = None

    def learn_store(self, environment: Mapping[str, str]) -> None:
        """Find out whether systemd stores descriptors. FileDescriptorStoreMax= is 0 by default, and
        systemd would log each refusal.

        $FDSTORE tells (systemd 254). Without it, a pipe is stored: systemd closes what it refuses.
        """
        most = whole(environment.get("FDSTORE", ""))
        if not self.active or most is not None:
            self.stores = self.active and bool(most)
            return
        read, write = os.pipe()
        self.store(TRIAL, write, poll=True)
        os.close(write)
        self.wait_heard(_TRIAL_SECONDS)
        closed = select.poll()
        closed.register(read, 0)
        self.stores = not closed.poll(_CLOSED_WITHIN * 1000)
        os.close(read)
        if self.stores:
            self.remove(TRIAL)

    def untold(self) -> tuple[list[tuple[str, str, int | None]], list[tuple[str, str]]]:
        """The messages that were not sent yet, except for the status: (name, text, descriptor) of
        what is stored or removed, and (name, further lines) of states.
        """
        files = [(name, text, fd) for name, (text, fd) in self._files.items()]
        return files, list(self._states)

    def take_over(
        self,
        files: list[tuple[str, str, int | None]],
        states: list[tuple[str, str]],
        *,
        stores: bool,
    ) -> None:
        """Take over the `untold` messages of another notifier. The caller sends a status next."""
        self.stores = stores
        self._files = {name: (text, fd) for name, text, fd in files}
        self._states = states

    def store(self, name: str, fd: int, *, poll: bool) -> None:
        """Store a duplicate of the descriptor in systemd (FDSTORE=1). The name is printable ASCII
        without a colon, at most 255 characters.

        With `poll` systemd drops it when it hangs up, otherwise only on request (FDPOLL=0, systemd
        246). Raises OSError if the message has to wait and no descriptor is left for that.
        """
        if self.active and self.stores:
            self._take_back(name)
            more = "" if poll else "\nFDPOLL=0"
            self._files[name] = f"FDSTORE=1\nFDNAME={name}{more}", os.dup(fd)
            self.flush()

    def remove(self, name: str) -> None:
        """Remove what is stored under the name (FDSTOREREMOVE=1, systemd 236)."""
        if self.active and not self._take_back(name):
            self._files[name] = f"FDSTOREREMOVE=1\nFDNAME={name}", None
            self.flush()

    def wait_heard(self, seconds: float) -> None:
        """Wait until systemd has handled all messages, for at most this many seconds.

        sd_notify_barrier(3), systemd 246.
        """
        if self.undelivered:
            return
        read, write = os.pipe()
        try:
            self._send("BARRIER=1", write)
            os.close(write)
            heard = select.poll()
            heard.register(read, 0)
            heard.poll(seconds * 1000)
        finally:
            os.close(read)

    def ready(self, status: str) -> None:
        """The service is ready, or a reload has ended, whatever its outcome."""
        # If RELOADING=1 was not sent yet, systemd has to receive both.
        self._states = [state for state in self._states if state[0] == "RELOADING=1"]
        self._state("READY=1", "", status)

    def reloading(self, status: str) -> None:
        """A reload begins. MONOTONIC_USEC has to be in the same datagram (systemd 253)."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        # A READY=1 that was not sent yet is covered by the one that ends this reload.
        self._states = []
        self._state("RELOADING=1", f"\nMONOTONIC_USEC={usec}", status)

    def stopping(self, status: str) -> None:
        """The service is stopping. Final."""
        self._states = []
        self._state("STOPPING=1", "", status)

    def status(self, status: str) -> None:
        """Set the status line of `systemctl status`."""
        self._status = _line(status)
        self.flush()

    def extend(self, seconds: float) -> None:
        """Extend the timeout of the start, reload or stop by this many seconds (systemd 236)."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def watchdog(self) -> None:
        """Send the keep-alive ping of WatchdogSec=."""
        self._send("WATCHDOG=1")

    def flush(self) -> None:
        """Send what waits, the status with the last state, as far as there is room."""
        for name, (text, fd) in tuple(self._files.items()):
            if not self._send(text, fd):
                return
            self._take_back(name)
        while self._states:
            text = "".join(self._states[0])
            last = len(self._states) == 1 and self._status is not None
            if not self._send(f"{text}\nSTATUS={self._status}" if last else text):
                return
            self._states.pop(0)
            if last:
                self._status = None
        if self._status is not None and self._send(f"STATUS={self._status}"):
            self._status = None

    def _state(self, name: str, more: str, status: str) -> None:
        self._states.append((name, more))
        self._status = _line(status)
        self.flush()

    def _take_back(self, name: str) -> bool:
        """Drop the unsent message about the name; True if it was still to be stored."""
        _text, fd = self._files.pop(name, ("", None))
        if fd is not None:
            os.close(fd)
        return fd is not None

    def _send(self, text: str, fd: int | None = None) -> bool:
        """Send a message; False if it has to be sent again. Other errors are kept in `error`."""
        if self._socket is None:
            return True
        try:
            data = text.encode("utf-8", "backslashreplace")
            if fd is None:
                self._socket.send(data)
            else:
                socket.send_fds(self._socket, [data], [fd])
        except OSError as error:
            if error.errno in _AGAIN:
                return False
            self.error = f"NOTIFY_SOCKET: {error.strerror}"
        return True


def _line(text: str) -> str:
    """One printable line: the program chooses parts of it, and a newline would begin a field."""
    parts = [c if c.isprintable() else ascii(c)[1:-1] for c in text[: _LONGEST + 1]]
    line = "".join(parts)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"


def watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Seconds between two watchdog pings: half of WatchdogSec=, as sd_watchdog_enabled(3) advises.
    None if the watchdog is off, or meant for another process.
    """
    usec = whole(environment.get("WATCHDOG_USEC", ""))
    pid = environment.get("WATCHDOG_PID", "")
    if not usec or pid not in ("", str(os.getpid())):
        return None
    return usec / 2_000_000
