"""Launching the program: fork, the seccomp filter, exec, and the news of both.

Nothing waits: the child reports over a socket that the loop watches. It sends `filter` with the
notification fd, or `error STEP ERRNO`; end of file after that means that the program runs.
"""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
import socket

from sockact.core.errors import OperatorError
from sockact.core.record import dataclass
from sockact.kernel import seccomp, signals
from sockact.kernel.libc import die_with_parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.seccomp import Call

LISTEN_FDS_START = 3
_BOUND = 64
_LONGEST_LINE = 256
_FEWEST_FILES = 64


class _Files:
    """The soft limit of open files that we found, which is the program's; None: as it is."""

    soft: int | None = None


def raise_file_limit() -> None:
    """Let the supervisor open as many files as the hard limit allows. Raises OperatorError.

    The programs that are launched get back the soft limit that was found: select() of many knows
    no descriptor above 1023.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FEWEST_FILES:
        raise OperatorError(
            f"only {hard} open files are allowed; raise LimitNOFILE= of the unit, or `ulimit -n`, "
            f"to {_FEWEST_FILES} at least"
        )
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return  # The hard limit is above fs.nr_open: the soft one has to do.
    _Files.soft = soft


def file_limit() -> int | None:
    """The soft limit that `raise_file_limit` found."""
    return _Files.soft


def set_file_limit(soft: int | None) -> None:
    """It was raised already, by an earlier version of us, and this is what that had found."""
    _Files.soft = soft


def _restore_file_limit() -> None:
    if _Files.soft is not None:
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_Files.soft, hard))


@dataclass(frozen=True)
class Launch:
    """What to execute. `environment` decides the PATH that is searched."""

    command: tuple[str, ...]
    directory: str
    environment: dict[str, str]
    calls: frozenset[Call] = frozenset()
    """The system calls to notify; empty: no filter."""
    native: tuple[int, ...] = ()
    """Descriptors to pass as sd_listen_fds(3) says, in this order."""
    outputs: tuple[tuple[int, int], ...] = ()
    """(what to write to, standard output or error) instead of our own."""
    stop_signal: int = signal.SIGTERM
    """What asks the program to end."""


@dataclass(frozen=True)
class Failed:
    """The launch failed, in this step."""

    step: str
    errno: int

    def explain(self, launch: Launch) -> str:
        """One line for the operator."""
        error = os.strerror(self.errno)
        if self.step == "chdir":
            return f"cannot enter {launch.directory}: {error}"
        if self.step == "seccomp":
            return f"cannot install the seccomp filter: {error}; try --adopt shim"
        program = launch.command[0]
        if self.errno == errno.ENOENT and (interpreter := _interpreter(launch)):
            return f"cannot execute {program}: its interpreter {interpreter} does not exist"
        return f"cannot execute {program}: {error}"


def _interpreter(launch: Launch) -> str:
    """What the #! line of the program names; the kernel reports both as not found."""
    folders = [""] if "/" in launch.command[0] else os.get_exec_path(launch.environment)
    for folder in folders:
        try:
            with open(os.path.join(launch.directory, folder, launch.command[0]), "rb") as file:
                line = file.readline(_LONGEST_LINE)
        except OSError:
            continue
        words = line[2:].split(None, 1) if line.startswith(b"#!") else []
        return os.fsdecode(words[0]) if words else ""
    return ""


def spawn(launch: Launch) -> tuple[int, socket.socket]:
    """Start the program: its pid, and the socket to `read_news` from. Raises OperatorError."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    try:
        with signals.blocked():
            pid = os.fork()
            if pid == 0:
                _child(launch, theirs)
    except OSError as error:
        ours.close()
        theirs.close()
        raise OperatorError(f"cannot fork: {error.strerror}") from error
    theirs.close()
    return pid, ours


def read_news(news: socket.socket) -> int | Failed | None:
    """The notification fd, or the failure, or None: the program has been executed.

    Raises BlockingIOError when there is nothing yet.
    """
    data, fds, _flags, _address = socket.recv_fds(news, _BOUND, 1)
    if not data:
        return None
    if fds:
        os.set_inheritable(fds[0], False)
        return fds[0]
    _error, step, number = data.decode().split()
    return Failed(step, int(number))


def _child(launch: Launch, news: socket.socket) -> None:
    """Never returns."""
    step = "setup"
    try:
        # A session of its own: the terminal's Ctrl-C goes to the supervisor, which drains.
        os.setsid()
        # Nobody would end the program, or let its successor have the address, without us.
        die_with_parent(launch.stop_signal)
        step = "chdir"
        os.chdir(launch.directory)
        step = "setup"
        for source, target in launch.outputs:
            os.dup2(source, target)
        environment = launch.environment
        if launch.native:
            news = _pass_listeners(launch.native, news)
            environment = {**environment, "LISTEN_PID": str(os.getpid())}
        signals.restore_defaults()
        if launch.calls:
            step = "seccomp"
            fd = seccomp.install(set(launch.calls))
            socket.send_fds(news, [b"filter"], [fd])
            os.close(fd)
        # Late: until here descriptors above the limit may be needed.
        _restore_file_limit()
        step = "exec"
        os.execvpe(launch.command[0], launch.command, environment)
    except OSError as error:
        news.send(f"error {step} {error.errno or 0}".encode())
    finally:
        os._exit(127)


def _pass_listeners(listeners: tuple[int, ...], news: socket.socket) -> socket.socket:
    """Lay the listeners over 3, 4, … inheritable; everything else of ours closes on exec."""
    end = LISTEN_FDS_START + len(listeners)
    # First everything that is still needed goes out of the way of the target numbers.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, end) for fd in (*listeners, news.detach())]
    for target, fd in enumerate(high[:-1], LISTEN_FDS_START):
        os.dup2(fd, target, inheritable=True)
    return socket.socket(fileno=high[-1])
