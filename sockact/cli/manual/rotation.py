"""sockact-rotate(1) beyond `--help`, in reStructuredText."""

from __future__ import annotations

COVERED = """
In Python programs, the files of logging, loguru, structlog and Twisted are reopened, and those that
standard output and standard error are redirected to. Other programs get the signal of
--reopen-signal (see sockact-run(1)). They do not confirm it, so use delaycompress for them.
"""

EXAMPLE = """
In a file of /etc/logrotate.d::

    /var/log/myapp/*.log {
        daily
        create 0640 myapp myapp
        compress
        postrotate
            sockact rotate myapp
        endscript
    }
"""
