"""`sockact wrap` that is interrupted or killed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.servers.apps import answers
from tests.support import wait
from tests.system.breaking import TREE
from tests.system.site import DROP_IN, SOCKET, debian
from tests.system.units import ADDRESS

if TYPE_CHECKING:
    from tests.system.site import Site

# The steps of `sockact wrap` up to the restart.
BESIDE = """
import sys
from sockact.cli.unit_files.wrapped import files_of
from sockact.units.manager import Manager
from sockact.units.wrap import marked_files, wrapping
from sockact.units.wrap.service import Service

service = Service(Manager(), files_of(sys.argv[1], user_unit=False))
found = [one for one in service.bound() if one.address.port == 8000]
text = marked_files.marked("[Socket]\\nListenStream=127.0.0.1:8000\\n")
with wrapping._duplicate(found) as sockets:
    assert wrapping._listen_beside(service, text, sockets)
    unit = f"[Unit]\\nX-Sockact=unfinished\\nRequires={service.files.socket}\\n"
    wrapping._write_all(service, text, marked_files.marked(unit))
    assert sockets.pass_connections()
"""
END = """
for pid in $(ls /proc | grep '^[0-9]' | sort -n); do
    if tr '\\0' ' ' < /proc/$pid/cmdline | grep -q '[s]ockact[^ ]* wrap'; then
        kill -{} $pid
        {}
    fi
done
true
"""


@pytest.mark.parametrize(
    ("signal", "then"),
    [("INT", "exit"), ("INT", ""), ("KILL", "exit")],
    ids=["one", "both", "kill"],
)
def test_an_interrupt_undoes_everything(site: Site, signal: str, then: str) -> None:
    """Ctrl-C reaches both processes."""
    slow = "import os, time\nif 'SOCKACT_NAME' in os.environ:\n    time.sleep(60)\n"
    site.machine.write("/opt/zoo/slow.py", f"{slow}from tests.servers.apps.wsgi import app\n")
    text = site.install(f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} slow:app")
    words = ("sockact", "wrap", "--force", site.unit)
    with subprocess.Popen(
        [*site.machine.enter("--all", "--root"), *words], stderr=subprocess.PIPE, text=True
    ) as wrapping:

        def starting() -> bool:
            return set(site.active().values()) == {"activating", "active"}

        wait.until(starting, "the wrapped program to be started")
        site.run("sh", "-c", END.format(signal, then))
        _, stderr = wrapping.communicate(timeout=30)
    # The first of the two processes was killed; the other one undoes the wrap.
    by = "SIGINT" if signal == "INT" else "SIGTERM"
    assert stderr.count("\n") == 1
    assert f"interrupted by {by}; all changes were undone; connections were refused for " in stderr
    site.wait_serving()
    site.is_plain(text)


def test_an_interrupt_of_the_trial(site: Site) -> None:
    """The running program notices nothing, and no file is left."""
    slow = "import os, time\nif 'SOCKACT_NAME' in os.environ:\n    time.sleep(60)\n"
    site.machine.write("/opt/zoo/slow.py", f"{slow}from tests.servers.apps.wsgi import app\n")
    text = site.install(f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} slow:app")
    before, files = site.main_pid, site.run("sh", "-c", TREE).stdout
    trial = "sockact-trial-site.service"
    with subprocess.Popen(
        [*site.machine.enter("--all", "--root"), "sockact", "wrap", site.unit],
        stderr=subprocess.PIPE,
        text=True,
    ) as wrapping:
        wait.until(lambda: site.show("ActiveState", trial) == "activating", "the trial")
        site.run("sh", "-c", END.format("INT", ""))
        _, stderr = wrapping.communicate(timeout=30)
    assert stderr.endswith("interrupted by SIGINT; all changes were undone\n")
    assert site.main_pid == before
    assert site.run("sh", "-c", TREE).stdout == files
    assert site.machine.systemctl("list-units", "--all", "--plain", trial).stdout.find(trial) < 0
    site.is_plain(text)


def test_an_interrupt_of_the_way_back(site: Site) -> None:
    """The program has caused the undo, which waits for it to start as before."""
    picky = "import os\nif 'SOCKACT_NAME' in os.environ:\n    raise RuntimeError('not in there')\n"
    site.machine.write("/opt/zoo/picky.py", f"{picky}from tests.servers.apps.wsgi import app\n")
    hold = "/run/hold"
    gone = f"test ! -e {hold}"
    text = site.install(
        f"ExecStartPre=/bin/sh -c 'test -e {DROP_IN} || {gone} || cat {hold} || {gone}'",
        f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} picky:app",
    )
    site.run("mkfifo", "-m", "644", hold)
    with subprocess.Popen(
        [*site.machine.enter("--all", "--root"), "sockact", "wrap", "--force", site.unit],
        stderr=subprocess.PIPE,
        text=True,
    ) as wrapping:
        # Returns when the program has started as before.
        with site.machine.path(hold).open("w"):
            site.run("sh", "-c", END.format("INT", ""))
            site.machine.path(hold).unlink()
        _, stderr = wrapping.communicate(timeout=30)
    assert wrapping.returncode == 1
    assert (
        "site.service did not start; all changes were undone; connections were refused for "
        in stderr
    )
    site.wait_serving()
    site.is_plain(text)


def test_a_wrap_that_was_killed(site: Site) -> None:
    text = site.install(*debian(site.machine))
    site.wrap("--no-restart")
    site.machine.path(DROP_IN).unlink()
    site.systemctl("daemon-reload")
    meanwhile = f"/run/systemd/system/{site.socket}.d/zz-sockact.conf"
    site.machine.write(meanwhile, "[Socket]\nReusePort=yes\n")
    done = site.wrap(check=False)
    assert "was interrupted; undo it with `sockact unwrap site`" in done.stderr
    site.systemctl("stop", site.unit)
    done = site.wrap(check=False)
    assert "was interrupted" in done.stderr
    site.systemctl("start", site.unit)
    site.wait_serving()
    before = site.main_pid
    done = site.unwrap()
    assert f"removed {SOCKET}" in done.stdout
    assert f"removed {DROP_IN}" not in done.stdout
    assert site.main_pid == before
    assert not site.there(meanwhile)
    site.is_plain(text)


def test_a_wrap_that_was_killed_beside_the_old_program(site: Site) -> None:
    """The .socket unit listens, and gets all that is new, while the program runs by itself."""
    text = site.install(*debian(site.machine))
    before = site.main_pid
    site.run("python3", "-I", "-c", BESIDE, site.unit)
    assert site.active() == {site.unit: "active", site.socket: "active"}
    # Nobody accepts there; the commands name the remedy.
    for command in ("wrap", "check", "status"):
        done = site.run("sockact", command, site.name, check=False)
        assert done.returncode != 0
        assert "was interrupted" in done.stdout + done.stderr
        assert "`sockact unwrap site`" in done.stdout + done.stderr
    site.unwrap()
    assert site.main_pid == before
    assert {site.ask() for _ in range(20)} == {answers.fast("1").decode()}
    site.is_plain(text)
