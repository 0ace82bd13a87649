"""What sockact-rotate(1) says beyond `--help`, in the markup of markup.py."""

from __future__ import annotations

EXAMPLE = """
In a file of /etc/logrotate.d:

    /var/log/myapp/*.log {
        daily
        create 0640 myapp myapp
        compress
        postrotate
            sockact rotate myapp
        endscript
    }
"""

COVERED = """
In Python programs these are reopened: the files of logging, loguru, structlog and Twisted, and
those that stand for standard output and error. Other programs get the signal of --reopen-signal of
sockact-run(1), which they do not answer: write delaycompress for them.
"""
