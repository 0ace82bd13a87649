"""The program that `sockact run` becomes: python -I THIS_FILE NAME -- PROGRAM [ARG]…

The program comes in the arguments, the settings in the environment; the name is there for ps.
"""

import signal

# Before anything else: until the loop can take signals, they wait instead of killing.
signal.pthread_sigmask(
    signal.SIG_BLOCK,
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD},
)

import os  # noqa: E402
import sys  # noqa: E402


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
    _open_standard()
    # Run by path, so that a checkout works like an installed package. Last, so that nothing
    # beside the package hides the standard library.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from sockact.supervisor.main import main

    sys.exit(main())
