"""`sockact unwrap`: what it leaves, refuses and puts back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.apps import answers
from tests.servers.commands import WSGI
from tests.system.breaking import BROKEN, LOAD, TREE, WHOLE
from tests.system.site import DROP_IN, SOCKET, UNITS, debian
from tests.system.units import ADDRESS, USER

if TYPE_CHECKING:
    from tests.system.site import Site

# It speaks to systemd if it can, as gunicorn does; its sandbox has no Unix sockets.
NOTIFYING = """
import http.server, os, socket
if "NOTIFY_SOCKET" in os.environ:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
        own.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\\0", 1))
http.server.test(http.server.SimpleHTTPRequestHandler, port=8000, bind="127.0.0.1")
"""


def test_a_hardened_service_comes_back_as_it_was(site: Site) -> None:
    """Without $NOTIFY_SOCKET, as it is not Type=notify, and without a file or directory of ours."""
    site.machine.write("/opt/zoo/notifying.py", NOTIFYING)
    text = site.install(
        "Type=exec",
        "ExecStart=/usr/bin/python3 /opt/zoo/notifying.py",
        "RestrictAddressFamilies=AF_INET AF_INET6",
    ).replace(f"User={USER}", "DynamicUser=yes")
    site.machine.write(f"{UNITS}/{site.unit}", text)
    site.systemctl("daemon-reload")
    site.systemctl("restart", site.unit)
    site.wait_serving()
    before = site.run("sh", "-c", TREE).stdout
    site.wrap()
    site.systemctl("reload", site.unit)
    site.unwrap()
    site.wait_serving()
    site.is_plain(text)
    assert site.show("NotifyAccess") == "none"
    environment = site.machine.path(f"/proc/{site.main_pid}/environ").read_text()
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC"} & {
        word.partition("=")[0] for word in environment.split("\0")
    }
    assert site.run("sh", "-c", TREE).stdout == before


@pytest.mark.parametrize("option", ["", "--preload"], ids=["bound", "unbound"])
def test_a_program_that_does_not_start_is_not_unwrapped(site: Site, option: str) -> None:
    """A reload tries it before anything is changed."""
    site.machine.write("/opt/zoo/whole.py", WHOLE)
    text = site.install(f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} {option} whole:app")
    site.wrap()
    site.machine.write("/opt/zoo/whole.py", BROKEN)
    with site.load(LOAD) as load:
        done = site.unwrap(check=False)
        report = load.stop()
    assert not report.failures(), report.explain()
    reason, *quoted = done.stderr.splitlines()
    assert "would not start again: a test reload failed; fix the program, or add --force" in reason
    assert reason.endswith("; the service is still wrapped")
    assert "ModuleNotFoundError: No module named 'nothere'" in "".join(quoted)
    assert site.findings() == []
    done = site.unwrap("--force", check=False)
    reason, *quoted = done.stderr.splitlines()
    assert "site.service ended soon after its start; site.service is DOWN" in reason
    assert "No module named 'nothere'" in "".join(quoted)
    site.machine.write("/opt/zoo/whole.py", WHOLE)
    site.systemctl("start", site.unit)
    site.unwrap()
    site.is_plain(text)


def test_a_socket_whose_file_was_removed(site: Site) -> None:
    text = site.install(*debian(site.machine))
    site.wrap()
    site.machine.path(SOCKET).unlink()
    done = site.unwrap(check=False)
    assert f"{SOCKET} of site.socket is gone; run `systemctl daemon-reload`, " in done.stderr
    assert done.stderr.count("\n") == 1
    site.systemctl("daemon-reload")
    done = site.unwrap()
    assert "connections were refused for " in done.stdout
    site.wait_serving()
    site.is_plain(text)


def test_a_wrapped_service_that_is_reverted(site: Site) -> None:
    """`systemctl revert` removes only the drop-in."""
    text = site.install(*debian(site.machine))
    site.wrap()
    site.systemctl("revert", site.unit)
    found = " ".join(site.findings())
    assert "was interrupted" in found
    done = site.unwrap()
    assert f"removed {SOCKET}" in done.stdout
    site.wait_serving()
    site.is_plain(text)


def test_a_program_that_does_not_start_unwrapped(site: Site) -> None:
    condition = 'test -n "$$SOCKACT_NAME" -o ! -e /run/moody'
    site.install(f"ExecStart=/bin/sh -c '{condition} && exec gunicorn --bind {ADDRESS} {WSGI}'")
    site.wrap()
    site.machine.write("/run/moody", "")
    done = site.unwrap(check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "site.service ended soon after its start; the service is still wrapped" in done.stderr
    assert site.ask() == answers.fast("1").decode()
    assert site.findings() == []
    site.machine.path("/run/moody").unlink()
    site.unwrap()


def test_a_program_that_binds_another_ip_address(site: Site) -> None:
    """sockact matches by the port; so must unwrap."""
    text = site.install(*debian(site.machine))
    site.wrap("--listen", "0.0.0.0:8000")
    assert site.ask() == answers.fast("1").decode()
    done = site.unwrap()
    assert "connections were refused for " in done.stdout
    site.wait_serving()
    site.is_plain(text)


def test_permission_denied(site: Site) -> None:
    """The message names the remedy, and nothing is changed."""
    site.install(*debian(site.machine))

    def unwrap() -> str:
        done = site.machine.run("sockact", "unwrap", site.unit, user=USER)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        return done.stderr

    site.wrap("--no-restart")
    now = "Permission denied; use sudo; the service is still wrapped"
    assert f"cannot remove {DROP_IN}: {now}" in unwrap()
    site.systemctl("restart", site.unit)
    before = site.main_pid
    now = "Permission denied; use sudo or --user-unit; the service is still wrapped"
    assert f"cannot write {DROP_IN}: {now}" in unwrap()
    assert site.main_pid == before
    assert site.findings() == []
    site.unwrap()
    site.wait_serving()


def test_a_native_wrap_that_took_no_effect(site: Site) -> None:
    site.machine.write(SOCKET, f"[Socket]\nListenStream={ADDRESS}\n")
    start = f"ExecStart=/usr/bin/gunicorn --workers 2 {WSGI}"
    site.install("[Unit]", f"Requires={site.socket}", "[Service]", start)
    before = site.main_pid
    site.wrap("--no-restart")
    done = site.unwrap()
    assert done.stdout.endswith("site.service: unwrapped\n")
    assert site.main_pid == before
    assert not site.there(DROP_IN)
