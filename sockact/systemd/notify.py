"""What the supervisor tells systemd: sd_notify(3), by way of the sdnotify library.

Only the supervisor speaks to $NOTIFY_SOCKET (NotifyAccess=main, MAINPID never changes). A draining
generation must not: STOPPING=1 is final from systemd 259 on.
"""

from __future__ import annotations

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Notifier:
    """Does nothing when there is no $NOTIFY_SOCKET."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._notifier = None
        self.error = ""
        """Why nothing can be told, although $NOTIFY_SOCKET is set."""
        if not environment.get("NOTIFY_SOCKET"):
            return
        from sdnotify import SystemdNotifier

        try:
            self._notifier = SystemdNotifier(debug=True)
        except OSError as error:
            self.error = f"NOTIFY_SOCKET={environment['NOTIFY_SOCKET']}: {error.strerror}"
        else:
            # A receiver that does not read must not stop the supervisor.
            self._notifier.socket.setblocking(False)

    @property
    def active(self) -> bool:
        return self._notifier is not None

    def ready(self, status: str) -> None:
        """The service serves; also the end of a reload, whatever its outcome."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self, status: str) -> None:
        """A reload begins. MONOTONIC_USEC has to be in the same datagram (systemd 253)."""
        usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send(f"RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS={status}")

    def stopping(self, status: str) -> None:
        """The service ends. Final."""
        self._send(f"STOPPING=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={status}")

    def extend(self, seconds: float) -> None:
        """Work goes on: the start, reload or stop may take this much longer (systemd 236)."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * 1_000_000)}")

    def watchdog(self) -> None:
        """We are alive (WatchdogSec=)."""
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if self._notifier is not None:
            try:
                self._notifier.notify(state)
            except OSError as error:
                self.error = f"NOTIFY_SOCKET: {error.strerror}"


def watchdog_interval(environment: Mapping[str, str]) -> float | None:
    """Half of WatchdogSec= in seconds, as sd_watchdog_enabled(3) advises; None when it is not for
    us.
    """
    usec = environment.get("WATCHDOG_USEC", "")
    pid = environment.get("WATCHDOG_PID", "")
    if not usec.isdecimal() or int(usec) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(usec) / 2_000_000
