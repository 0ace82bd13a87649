"""What a second instance of a program says of which only one may run."""

from __future__ import annotations

import pytest

from sockact.units import only_one


@pytest.mark.parametrize(
    "line",
    [
        "Error: Varnishd is already running (pid=812) (pidfile=/var/lib/varnish/_.pid)",
        "FATAL: Squid is already running: Found fresh instance PID file (/run/squid.pid)",
        'FATAL:  lock file "postmaster.pid" already exists',
        "LMDB: Resource temporarily unavailable",
        "Cannot acquire lock on /var/lib/x/LOCK",
        "BlockingIOError: [Errno 11] Resource temporarily unavailable",
        "another instance is running",
        "sqlite3.OperationalError: database is locked",
        "pidfile exists, is another copy running?",
    ],
)
def test_it_is_found(line: str) -> None:
    assert only_one.find(["starting", f"  {line}", "exited with status 1"]) == line


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 98] Address already in use",
        "ModuleNotFoundError: No module named 'nothere'",
        "RuntimeError: block size is wrong",
        "TypeError: cannot unpack a clock",
    ],
)
def test_other_failures(line: str) -> None:
    assert only_one.find([line]) == ""
