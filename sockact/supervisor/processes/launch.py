"""Launches the program: fork, seccomp filter, exec, and the child's reports about them.

Nothing blocks: the child reports over a socket that the loop watches. It sends `filter` with the
notification fd, or `error STEP ERRNO`. End of file means that the program has been executed.
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
from sockact.kernel.looks import apart_for

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.kernel.seccomp import Call

LISTEN_FDS_START = 3
_BOUND = 64
_LONGEST_LINE = 256
_FEWEST_FILES = 64


class _FileLimit:
    """The soft limit of open files for the programs; None: unchanged."""

    soft: int | None = None


def raise_file_limit() -> None:
    """Let the supervisor open as many files as the hard limit allows. Raises OperatorError.

    Programs are launched with the original soft limit: many use select(), which supports no
    descriptor above 1023.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FEWEST_FILES:
        raise OperatorError(
            f"only {hard} open files are allowed; raise LimitNOFILE= in the unit, or `ulimit -n`, "
            f"to at least {_FEWEST_FILES}"
        )
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return  # The hard limit is above fs.nr_open: keep the soft limit.
    _FileLimit.soft = soft


def file_limit() -> int | None:
    """Return the original soft limit, for the programs."""
    return _FileLimit.soft


def set_file_limit(soft: int | None) -> None:
    """Set the original soft limit, which an earlier version of sockact has raised."""
    _FileLimit.soft = soft


def _restore_file_limit() -> None:
    if _FileLimit.soft is not None:
        _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (_FileLimit.soft, hard))


@dataclass(frozen=True)
class Launch:
    """What to execute, and how. The program is searched in the PATH of `environment`."""

    command: tuple[str, ...]
    directory: str
    environment: dict[str, str]
    calls: frozenset[Call] = frozenset()
    """System calls that the filter notifies of; empty: no filter."""
    connects: frozenset[int] = frozenset()
    """Of connect, which calls: see seccomp.install."""
    native: tuple[int, ...] = ()
    """Descriptors to pass as in sd_listen_fds(3), in this order."""
    outputs: tuple[tuple[int, int], ...] = ()
    """(descriptor, standard output or error that it replaces)."""
    stop_signal: int = signal.SIGTERM
    """The signal that asks the program to end."""


@dataclass(frozen=True)
class LaunchFailure:
    """The step in which a launch failed, and its errno."""

    step: str
    errno: int

    def explain(self, launch: Launch) -> str:
        """Return the reason for the operator, in one line."""
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
    """Return the interpreter in the program's #! line; the kernel reports both as not found."""
    directories = [""] if "/" in launch.command[0] else os.get_exec_path(launch.environment)
    for directory in directories:
        try:
            line = _first_line(os.path.join(launch.directory, directory, launch.command[0]))
        except OSError:
            continue
        words = line[2:].split(None, 1) if line.startswith(b"#!") else []
        return os.fsdecode(words[0]) if words else ""
    return ""


@apart_for("release files")
def _first_line(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.readline(_LONGEST_LINE)


def spawn(launch: Launch) -> tuple[int, socket.socket]:
    """Start the program; return its pid, and the socket for `read_news`. Raises OperatorError."""
    own, child_end = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    own.setblocking(False)
    supervisor = os.getpid()
    try:
        with signals.blocked():
            pid = os.fork()
            if pid == 0:
                _child(launch, child_end, supervisor)
    except OSError as error:
        own.close()
        child_end.close()
        raise OperatorError(f"cannot fork: {error.strerror}") from error
    child_end.close()
    return pid, own


def read_news(news: socket.socket) -> int | LaunchFailure | None:
    """Return the notification fd, the failure, or None once the program has been executed.

    Raises BlockingIOError if there is nothing to read yet.
    """
    data, fds, flags, _address = socket.recv_fds(news, _BOUND, 1)
    if flags & socket.MSG_CTRUNC:  # No descriptor was left: the kernel has closed it.
        return LaunchFailure("seccomp", errno.EMFILE)
    if not data:
        return None
    if fds:
        os.set_inheritable(fds[0], False)
        return fds[0]
    _error, step, number = data.decode().split()
    return LaunchFailure(step, int(number))


def _child(launch: Launch, news: socket.socket, supervisor: int) -> None:
    """Become the program; never returns."""
    step = "setup"
    try:
        # In a session of its own: Ctrl-C reaches only the supervisor, which drains.
        os.setsid()
        # Without the supervisor, nobody would stop the program or free its address.
        die_with_parent(launch.stop_signal)
        if os.getppid() != supervisor:
            os._exit(127)  # It has ended before that.
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
            fd = seccomp.install(set(launch.calls), launch.connects)
            socket.send_fds(news, [b"filter"], [fd])
            os.close(fd)
        # Last, because descriptors above that limit may be needed until here.
        _restore_file_limit()
        step = "exec"
        os.execvpe(launch.command[0], launch.command, environment)
    except OSError as error:
        news.send(f"error {step} {error.errno or 0}".encode())
    finally:
        os._exit(127)


def _pass_listeners(listeners: tuple[int, ...], news: socket.socket) -> socket.socket:
    """Make the listeners descriptors 3, 4, …, inheritable; all others close on exec."""
    end = LISTEN_FDS_START + len(listeners)
    # First move everything that is still needed out of the way of those numbers.
    high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, end) for fd in (*listeners, news.detach())]
    for target, fd in enumerate(high[:-1], LISTEN_FDS_START):
        os.dup2(fd, target, inheritable=True)
    return socket.socket(fileno=high[-1])
