"""A log under a real systemd: the hardened unit writes it, SIGUSR1 rotates it, and a stop leaves
nothing behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import wait
from tests.system.test_init import PORTS, Site, site

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["site"]

LOG = "/var/log/web/access.log"


def requests(path: Path) -> int:
    """So many were logged, one a line."""
    lines = path.read_text().splitlines() if path.exists() else []
    assert all('"GET / HTTP/1.1" 200' in line for line in lines), lines
    return len(lines)


def ask(site: Site, address: str, times: int) -> None:
    for _ in range(times):
        assert site.get(f"http://{address}/") == "served"


@pytest.mark.parametrize("user", [("--user", "daemon"), ()], ids=["user", "dynamic"])
def test_a_log_is_rotated(site: Site, user: tuple[str, ...]) -> None:
    address = f"127.0.0.1:{next(PORTS)}"
    program = ("gunicorn", "--access-logfile", "-", "--bind", address, "site_app:app")
    logs = ("--log", LOG, "--log-stderr", "/var/log/web/error.log")
    site.init("web", "--listen", address, *user, *logs, "--", *program)
    site.machine.systemctl("start", "web.service", check=True)
    ask(site, address, 3)
    site.reload("web.service")
    ask(site, address, 2)
    # The machine's own view: /var/log/web is a link where the user is made for the service.
    log = site.machine.path("/var/log" + ("/web" if user else "/private/web") + "/access.log")
    wait.until(lambda: requests(log) == 5, "the requests to be logged")
    left = log.with_suffix(".1")
    log.rename(left)
    site.machine.systemctl("kill", "--kill-who=main", "--signal=USR1", "web.service", check=True)
    wait.until(log.exists, "the new file")
    ask(site, address, 4)
    site.stop("web.service")
    assert (requests(left), requests(log)) == (5, 4)
    said = site.machine.run("journalctl", "-o", "cat", "-u", "web.service", "SOCKACT_EVENT=log")
    assert "SIGUSR1: files reopened: 2" in said.stdout
    snippet = site.machine.path("/etc/logrotate.d/sockact-web").read_text()
    assert f'"{LOG}" "/var/log/web/error.log" {{' in snippet
    assert ("su daemon" in snippet) == bool(user)
    found = site.machine.run("systemd-analyze", "verify", "web.service", "web.socket")
    assert (found.returncode, found.stderr) == (0, "")
    site.machine.run("sh", "-c", "rm -rf /var/log/web /var/log/private/web /etc/logrotate.d/*web")
