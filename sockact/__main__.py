"""The command `sockact`: the installed script, `python -m sockact`, or this file by its path.

`sockact run` is the supervisor itself, so it must keep its pid (systemd's MAINPID), its descriptors
and none of click's memory. A plain command line is read here (cli/starting/plain.py). Any other is
read by a child; meanwhile this process loads what it needs to serve. Calls of a supervisor are made
without click where that is possible (cli/shortcut.py). All other commands are click commands as
usual.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# These make Python load nothing else, and change no text that a command writes: python(1).
_HARMLESS = {
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "PYTHONNOUSERSITE",
    "PYTHONSAFEPATH",
    "PYTHONUNBUFFERED",
}


def main() -> None:
    """The entry point of every command; ends in SystemExit."""
    _isolate()  # Before the first import of a module that Python has not loaded itself.
    words = sys.argv[2:] if sys.argv[1:2] == ["--"] else sys.argv[1:]
    if words[:1] in (["run"], ["dev"]):
        sys.exit(_run(words))
    from sockact.cli.shortcut import perform

    if (status := perform(words)) is not None:
        # All is written, and taking the interpreter down would take a tenth of the command's time.
        os._exit(status)
    from sockact.cli.main import main as command

    command(words)


def _isolate() -> None:
    """Let nothing beside the package, of the program's or in the working directory, be loaded.

    PYTHONPATH and its like are meant for the wrapped program, and have had their effect already.
    """
    if not sys.flags.isolated:
        if any(name.startswith("PYTHON") for name in {*os.environ} - _HARMLESS):
            arguments = [sys.executable, "-I", os.path.abspath(__file__), *sys.argv[1:]]
            try:
                os.execv(sys.executable, arguments)
            except OSError as error:
                _give_up(f"cannot start {sys.executable} again: {error.strerror}")
        if not sys.flags.safe_path:
            del sys.path[0]
    # This very package, whatever else is installed: once it is loaded, its modules are its own.
    # Only for a moment, so that nothing that lies beside it hides the standard library.
    sys.path.insert(0, _ROOT)
    from sockact import own_modules

    del sys.path[0]
    own_modules.install()


def _run(words: list[str]) -> int:
    """The exit status of the service, or of a command line that was refused."""
    import gc
    import signal

    # What is loaded from here on stays; the supervisor enables the collector before its loop runs.
    gc.disable()

    # Until the supervisor's loop can take them, they wait instead of killing.
    ours = "SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGUSR1", "SIGCHLD"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [getattr(signal, name) for name in ours])
    if handed := os.environ.pop("SOCKACT_UPGRADE", ""):
        return _go_on(handed)
    if os.environ.pop("SOCKACT_READ", ""):
        os.dup2(1, 2)  # The supervisor reads standard output, also the reason of a refusal.
        return _tell_settings(words, 0)
    _open_standard()
    if words[0] == "run" and "_SOCKACT_COMPLETE" not in os.environ:
        from sockact.cli.starting.plain import parse

        if (settings := parse(words[1:])) is not None:
            from sockact.supervisor.main import main as supervise

            return supervise(settings.to_json())
    return _run_by_child(words, before)


def _run_by_child(words: list[str], mask: set[int]) -> int:
    """Do the same as _run, for a command line that only click can read; an exit status.

    `mask` is the child's signal mask.
    """
    import signal

    reader, writer = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        _give_up(f"cannot fork: {error.strerror}; look at the limits of processes and of memory")
    if pid == 0:
        os.close(reader)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return _tell_settings(words, writer)
    os.close(writer)
    # Beside the child, which takes about as long.
    from sockact.supervisor.main import main as supervise

    with open(reader, "rb") as pipe:
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code < 0:
        _give_up(f"signal {-code} has ended the process that reads the command line")
    return supervise(told.decode()) if told else code


def _go_on(handed: str) -> int:
    """Take over from an earlier version (docs/upgrade.md), or only tell it whether this version
    could; an exit status.
    """
    try:
        from sockact.supervisor.resume import main as resume
    except Exception as error:
        if handed == "check":
            sys.stdout.write(f"{type(error).__name__}: {error}")
            return 1
        raise
    return resume(handed)


def _tell_settings(words: list[str], writer: int) -> int:
    """Read the command line, in the child; an exit status."""
    from sockact.cli.main import main as command

    settings = command(words)
    with open(writer, "w") as pipe:
        pipe.write(settings.to_json())
    return 0


def _give_up(reason: str) -> NoReturn:
    sys.stderr.write(f"sockact: {reason}\n")
    sys.exit(1)


def _open_standard() -> None:
    """/dev/null for every standard descriptor that is closed (`2>&-`).

    Or else the first file that we open would be stderr, for us and for the program.
    """
    while (fd := os.open("/dev/null", os.O_RDWR | os.O_NOCTTY)) <= 2:
        os.set_inheritable(fd, True)
        mode, name = (("r", "stdin"), ("w", "stdout"), ("w", "stderr"))[fd]
        # Python has left None there.
        setattr(sys, name, open(fd, mode, closefd=False))
    os.close(fd)


if __name__ == "__main__":
    main()
