"""The program that `sockact run` becomes: python -I THIS_FILE NAME -- PROGRAM [ARG]…

The name and the program are only there to be seen in ps; the settings come in the environment.
"""

import signal

# Before anything else: until the loop can take signals, they wait instead of killing.
signal.pthread_sigmask(
    signal.SIG_BLOCK,
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD},
)

import os  # noqa: E402
import sys  # noqa: E402

if __name__ == "__main__":
    # Run by path, so that a checkout works like an installed package. Last, so that nothing
    # beside the package hides the standard library.
    sys.path.append(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    from sockact.supervisor.main import main

    sys.exit(main())
