"""The running service that is wrapped or unwrapped: its processes, its sockets, its starts."""

from __future__ import annotations

import contextlib
import os
import time

from sockact.core import matching
from sockact.core.errors import OperatorError
from sockact.handover import interest
from sockact.kernel import procfs
from sockact.units import listening_sockets, only_one, unitfile
from sockact.units.facts import RUNNING
from sockact.units.output_files import OutputFiles
from sockact.units.wrap import marked_files
from sockact.units.wrap.service_sockets import ServiceSockets
from sockact.units.wrap.transaction import NotRestored, NotStarted, OnlyOne, ServiceError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from sockact.core.matching import Address
    from sockact.units.facts import Unit
    from sockact.units.listening_sockets import Bound
    from sockact.units.manager import Manager
    from sockact.units.wrap.service_files import ServiceFiles

_MAIN = b"/sockact/__main__.py"
# How often the journal is read, how many of its lines are shown, and how much of each.
_READS = 10
_LINES = 12
_LONGEST = 1000
# Seconds.
_READ_PAUSE = 0.2
_STEP = 0.02
_BIND_SECONDS = 60.0
_SETTLED = 1.0
_UNSEEN = 5.0


class Service:
    """A service and its manager. All methods raise OperatorError if systemd cannot be asked."""

    def __init__(self, manager: Manager, files: ServiceFiles, unit: Unit | None = None) -> None:
        """`unit` is the service as systemd has loaded it: it may write its output to files."""
        self.manager, self.files = manager, files
        self._output = OutputFiles(unit)

    def main_pid(self) -> str:
        """The pid of the main process; "0" if the service is not running."""
        return self._show("MainPID")

    def is_wrapped(self) -> bool:
        """Whether the main process is sockact. It is not if the service was not restarted since."""
        try:
            with open(f"/proc/{self.main_pid()}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            return False
        # The command, or its main module once it has executed itself again.
        ours = [os.path.basename(word) == b"sockact" or _MAIN in word for word in words]
        return any(own and word == b"run" for own, word in zip(ours, words[1:5], strict=False))

    def bound(self) -> list[Bound]:
        """The sockets that its processes listen on. Raises OSError."""
        return listening_sockets.find_bound(self._processes())

    def has_changed_user(self) -> bool:
        """Whether one of its processes is not root's."""
        for pid in self._processes():
            with contextlib.suppress(OSError), open(f"/proc/{pid}/status", "rb") as file:
                uids = next(line.split()[1:] for line in file if line.startswith(b"Uid:"))
                if {*uids} != {b"0"}:
                    return True
        return False

    def sockets_at(self, addresses: Sequence[Address]) -> ServiceSockets:
        """Its sockets at these addresses. Raises OSError."""
        return ServiceSockets([one for one in self.bound() if one.address in addresses])

    def supervised_addresses(self) -> list[Address]:
        """The addresses of the listeners that sockact holds; empty if it does not run the
        service.
        """
        if not self.is_wrapped():
            return []
        with contextlib.suppress(OSError):
            own = listening_sockets.find_bound([int(self.main_pid())])
            control = f"{self.files.runtime}/"
            found = [one.address for one in own if not one.address.host.startswith(control)]
            return [*dict.fromkeys(found)]  # Lanes have the same.
        return []

    def restart(self) -> None:
        """Raises NotStarted."""
        began = time.time()
        try:
            self.manager.call("restart", self.files.service)
        except OperatorError as error:
            lines = self.last_lines(began)
            raise NotStarted(f"{self.files.service} did not start", lines) from error

    def restart_times(self) -> tuple[float, float]:
        """When it began to stop, and when it was ready, both by time.monotonic()."""
        names = ("ActiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
        stopped, ready = (int(self._show(name)) / 1e6 for name in names)
        return stopped, ready

    def try_start(self, text: str) -> None:
        """Start the program once in the trial unit `text`. Raises NotStarted."""
        trial = self.files.trial
        began = time.time()
        marked_files.write(self.files.trial_path, text)
        self.manager.call("daemon-reload")
        try:
            self.manager.call("start", trial)
        except OperatorError as error:
            lines = self.last_lines(began, trial)
            reason = "its release does not start under sockact (--force wraps it anyway)"
            raise self._not_started(reason, lines) from error

    def end_trial(self) -> None:
        """Stop the trial unit and remove its files."""
        if not os.path.lexists(self.files.trial_path):
            return
        self.stop_unit(self.files.trial)
        with contextlib.suppress(OperatorError):
            self.manager.call("reset-failed", self.files.trial)
        self.files.remove_trial()

    def test_reload(self, reason: str) -> None:
        """Reload, so that the program starts once while the old generation still serves. Raises
        NotStarted, with this reason.
        """
        began = time.time()
        try:
            self.manager.call("reload", self.files.service)
        except OperatorError as error:
            raise self._not_started(reason, self.last_lines(began)) from error

    def _not_started(self, reason: str, lines: tuple[str, ...]) -> ServiceError:
        name = self.files.service
        if said := only_one.find(lines):
            return OnlyOne(f"{name}: only one instance of its program can run: {said}", lines)
        return NotStarted(f"{name}: {reason}", lines)

    def start_again(self, addresses: Sequence[Address]) -> None:
        """Start the service after a failure, and wait until it is stable. Raises NotRestored."""
        service = self.files.service
        began = time.time()
        with contextlib.suppress(OperatorError):
            self.manager.call("reset-failed", service)
        try:
            # Not `restart`: systemd may be waiting to restart it already.
            self.manager.call("stop", service)
            self.manager.call("start", service)
            self.wait_bound(addresses)
            self.wait_stable(addresses)
        except OperatorError as error:
            raise NotRestored(
                f"{service} is DOWN: it does not start with its previous settings, either; "
                f"fix the program, then run `{self.manager.name} start {self.files.name}`",
                self.last_lines(began),
            ) from error

    def stop_unit(self, unit: str) -> None:
        """Stop a unit, which may not even be loaded."""
        with contextlib.suppress(OperatorError):
            self.manager.call("stop", unit)

    def wait_bound(self, addresses: Sequence[Address]) -> None:
        """Return when the program listens on all addresses."""
        deadline = time.monotonic() + _BIND_SECONDS
        while missing := self._missing(addresses):
            state = self._show("ActiveState")
            if state in ("failed", "inactive"):
                raise self._ended()
            if time.monotonic() > deadline:
                names = ", ".join(map(str, missing))
                raise OperatorError(
                    f"{self.files.service} is {state}, but not listening on {names}"
                )
            time.sleep(_STEP)

    def _missing(self, addresses: Sequence[Address]) -> list[Address]:
        """The addresses on which the program does not listen yet. It may bind another IP address
        than the .socket unit has, as long as sockact would give it that listener.
        """
        free = listening_sockets.find_free(addresses)
        if not free:
            return []
        try:
            own = [one.address for one in self.bound()]
        except OSError:
            return free
        known = tuple(addresses)
        answers = [matching.match(address, known) for address in own]
        taken = {known[one.index] for one in answers if isinstance(one, matching.Adopted)}
        return [address for address in free if address not in taken]

    def wait_stable(self, addresses: Sequence[Address]) -> float:
        """Return when the service is still running a second after it began to accept: at that
        time, by time.monotonic(). Raises OperatorError if it ends before.

        gunicorn binds before its workers import the application, and ends if they cannot. If we
        cannot see that it accepts, wait as long as most programs take for that.
        """
        restarts = self._state().get("NRestarts")
        began = time.monotonic()
        accepted = None
        while True:
            now = self._state()
            restarted = now.get("NRestarts") != restarts
            if restarted or now.get("ActiveState") not in RUNNING:
                raise self._ended()
            if "auto-restart" in now.get("SubState", ""):
                raise self._ended()
            at = time.monotonic()
            if accepted is None and self._accepts(addresses):
                accepted = at
            if at >= (began + _UNSEEN if accepted is None else accepted + _SETTLED):
                return began if accepted is None else accepted
            time.sleep(_STEP)

    def _ended(self) -> OperatorError:
        # The same whether or not it was seen listening, which is a matter of moments.
        return OperatorError(f"{self.files.service} ended soon after its start")

    def _accepts(self, addresses: Sequence[Address]) -> bool:
        """Whether a process of the service waits for clients on each of its sockets there."""
        with contextlib.suppress(OSError, procfs.Unavailable):
            known = tuple(addresses)
            inodes = {
                one.inode
                for one in self.bound()
                if isinstance(matching.match(one.address, known), matching.Adopted)
            }
            found, _ = interest.interest(self._processes(), inodes)
            return bool(inodes) and found == inodes
        return False

    def last_lines(self, since: float, unit: str = "") -> tuple[str, ...]:
        """The last lines of the service in the journal, once no more arrive, as it lags behind, and
        those in the files of its output.
        """
        before = said = ""
        with contextlib.suppress(OperatorError):
            for _ in range(_READS):
                said = self.manager.journal(unit or self.files.service, since, _LINES)
                if said and said == before:
                    break
                before = said
                time.sleep(_READ_PAUSE)
        found = (*said.splitlines()[-_LINES:], *self._output.added()[-_LINES:])
        return tuple(line[:_LONGEST] for line in found)

    def _processes(self) -> list[int]:
        """The processes of its control group and those below, on cgroup v1, v2 or both."""
        cgroup = self._show("ControlGroup")
        found = []
        for process in procfs.processes() if cgroup else ():
            try:
                with open(f"/proc/{process.pid}/cgroup", errors="surrogateescape") as file:
                    paths = [line.rstrip("\n").split(":", 2)[2] for line in file]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if any(path == cgroup or path.startswith(f"{cgroup}/") for path in paths):
                found.append(process.pid)
        return found

    def _state(self) -> dict[str, str]:
        names = "--property=ActiveState,SubState,NRestarts"
        return unitfile.properties(self.manager.call("show", names, "--", self.files.service))

    def _show(self, name: str) -> str:
        shown = self.manager.call("show", "--value", f"--property={name}", "--", self.files.service)
        return shown.strip()
