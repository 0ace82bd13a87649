"""`sockact wrap` and `unwrap` beside a real systemd: services as administrators write them, under
load, and taken back when they do not start.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from bench.load import Kind, Load
from bench.tally import Failure
from tests.servers.apps import answers
from tests.servers.commands import WSGI
from tests.servers.releases import Releases
from tests.support import wait
from tests.system import servers
from tests.system.service import URL, Service
from tests.system.site import DROP_IN, SETTINGS, SOCKET, UNITS, Site, debian, own_venv
from tests.system.units import ADDRESS, USER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.support.machine import Machine

# Whoever keeps its connection meets the program's own way of ending, at the wrap and the unwrap.
LOAD = Load(Kind.NEW, 4, pause=0.005)
OWN_UNITS = f"/home/{USER}/.config/systemd/user"
# What `sockact wrap` does up to the moment before the restart.
BESIDE = """
import sys
from sockact.cli.wrap import place_of
from sockact.systemd import marks, migrate
from sockact.systemd.manager import Manager

manager, place = Manager(), place_of(sys.argv[1], user_unit=False)
found = [one for one in migrate.sockets(manager, place) if one.address.port == 8000]
text = marks.marked("[Socket]\\nListenStream=127.0.0.1:8000\\n")
with migrate._open(found) as seam:
    assert migrate._listen_beside(manager, place, text, seam)
    required = marks.marked(f"[Unit]\\nRequires={place.socket}\\n")
    migrate._write_all(manager, place, text, required)
    assert seam.to_new()
"""
INTERRUPT = """
for folder in /proc/[0-9]*; do
    tr '\\0' ' ' < $folder/cmdline | grep -q '[s]ockact[^ ]* wrap' && kill -INT ${folder#/proc/}
done
true
"""


@pytest.fixture
def site(machine: Machine) -> Iterator[Site]:
    releases = Releases(machine.path("/srv/app"))
    releases.publish("1")
    yield Site(machine, "site", releases)
    # One by one: in new versions, one that is not there keeps the others from being stopped.
    for unit in ("site.socket", "site.service"):
        machine.systemctl("stop", unit)
    machine.run("sh", "-c", f"rm -rf {UNITS}/site.* /srv/venv /etc/systemd/system/site.service.d")
    machine.systemctl("daemon-reload", check=True)
    machine.systemctl("reset-failed", "site.service", "site.socket")
    shutil.rmtree(machine.path("/srv/app"))


@pytest.mark.parametrize("kind", [debian, own_venv])
def test_wrap_reload_unwrap_under_load(
    site: Site, kind: Callable[[Machine], tuple[str, ...]]
) -> None:
    text = site.install(*kind(site.machine))
    with site.load(LOAD) as load:
        done = site.wrap()
        report = load.stop()
    assert "no client was refused; new ones waited, " in done.stdout
    assert not report.failures(), report.explain()
    assert site.active() == {site.unit: "active", site.socket: "active"}
    assert site.findings() == []
    before = site.main_pid
    with site.load(LOAD) as load:
        site.releases.publish("2")
        site.systemctl("reload", site.unit)
        assert site.ask() == answers.fast("2").decode()
        report = load.stop()
    assert not report.failures(), report.explain()
    assert site.main_pid == before
    # Whoever waits is served, whoever comes then tries again; but the port is free for a moment.
    with site.load(LOAD, servers.GUNICORN.long) as load:
        done = site.unwrap()
        site.wait_serving()
        report = load.stop()
    assert {*report.total().failures} <= {Failure.REFUSED}, report.explain()
    assert "nobody listened for " in done.stdout
    assert site.ask() == answers.fast("2").decode()
    site.is_plain(text)


def test_a_program_that_does_not_start_wrapped(site: Site) -> None:
    picky = "import os\nif 'SOCKACT_NAME' in os.environ:\n    raise RuntimeError('not in there')\n"
    site.machine.write("/opt/zoo/picky.py", f"{picky}from tests.servers.apps.wsgi import app\n")
    start = f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} picky:app"
    text = site.install(start, "Restart=always")
    before = site.main_pid
    done = site.wrap(check=False)
    assert done.returncode == 1
    warning, reason, *quoted = done.stderr.splitlines()
    assert warning.startswith("sockact: warning: site.service: Restart=always: ")
    assert reason == "sockact: site.service did not start; it is as it was"
    assert "RuntimeError: not in there" in "".join(quoted)
    site.wait_serving()
    site.is_plain(text)
    assert site.main_pid != before


def test_a_program_that_does_not_start_unwrapped(site: Site) -> None:
    condition = 'test -n "$$SOCKACT_NAME" -o ! -e /run/moody'
    site.install(f"ExecStart=/bin/sh -c '{condition} && exec gunicorn --bind {ADDRESS} {WSGI}'")
    site.wrap()
    site.machine.write("/run/moody", "")
    done = site.unwrap(check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "nobody has 127.0.0.1:8000; it is wrapped as before" in done.stderr
    assert site.ask() == answers.fast("1").decode()
    assert site.findings() == []
    site.machine.path("/run/moody").unlink()
    site.unwrap()


def test_an_interrupt_takes_everything_back(site: Site) -> None:
    slow = "import os, time\nif 'SOCKACT_NAME' in os.environ:\n    time.sleep(60)\n"
    site.machine.write("/opt/zoo/slow.py", f"{slow}from tests.servers.apps.wsgi import app\n")
    text = site.install(f"ExecStart=/usr/bin/gunicorn --bind {ADDRESS} slow:app")
    words = ("sockact", "wrap", site.unit)
    with subprocess.Popen(
        [*site.machine.enter("--all", "--root"), *words], stderr=subprocess.PIPE, text=True
    ) as wrapping:

        def starting() -> bool:
            return set(site.active().values()) == {"activating", "active"}

        wait.until(starting, "the wrapped program to be started")
        site.run("sh", "-c", INTERRUPT)
        _, stderr = wrapping.communicate(timeout=30)
    assert (wrapping.returncode, stderr.count("\n")) == (1, 1)
    assert stderr.endswith("interrupted by SIGINT; it is as it was\n")
    site.wait_serving()
    site.is_plain(text)


def test_a_socket_file_in_the_folder_of_the_service(site: Site) -> None:
    path = "/run/site/http.sock"
    text = site.install(
        f"ExecStart=/usr/bin/gunicorn --umask 0117 --bind unix:{path} {WSGI}",
        "RuntimeDirectory=site",
        "Group=daemon",
        where=path,
    )
    done = site.wrap()
    assert "who came just then was refused" in done.stdout
    assert site.findings() == []
    status = ("stat", "-c", "%U %G %a", path)
    assert site.run(*status).stdout == f"{USER} daemon 660\n"
    # The folder is the program's user's: it could put a link there, which SocketUser= follows.
    unit = site.machine.path(SOCKET).read_text()
    assert f"ExecStartPost=chown --no-dereference -- {USER}:daemon {path}\n" in unit
    assert "\nSocketUser=" not in unit
    site.releases.publish("2")
    site.systemctl("reload", site.unit)
    site.systemctl("restart", site.unit)
    assert site.ask_file(path) == answers.fast("2").decode()
    site.unwrap()
    site.wait_serving(path)
    site.is_plain(text)


def test_a_service_with_a_socket_of_its_own(site: Site) -> None:
    """Who has the .socket unit already loses nobody, neither way."""
    site.machine.write(SOCKET, f"[Socket]\nListenStream={ADDRESS}\n")
    start = f"ExecStart=/usr/bin/gunicorn --workers 2 {WSGI}"
    text = site.install("[Unit]", f"Requires={site.socket}", "[Service]", start)
    with site.load(LOAD) as load:
        done = site.wrap()
        site.releases.publish("2")
        site.systemctl("reload", site.unit)
        assert site.ask() == answers.fast("2").decode()
        taken_back = site.unwrap()
        report = load.stop()
    assert "no client was refused" in done.stdout
    assert "nobody listened" not in taken_back.stdout
    assert not report.failures(), report.explain()
    assert site.there(SOCKET)
    assert not site.there(DROP_IN)
    assert site.machine.path(f"{UNITS}/{site.unit}").read_text() == text


def test_what_is_refused_and_what_is_only_shown(site: Site) -> None:
    text = site.install(*debian(site.machine))
    site.machine.systemctl("mask", "--runtime", "nothing.service", check=True)
    for name, reason in (
        ("nowhere", "there is no unit nowhere.service"),
        ("nothing", "nothing.service is not loaded (masked)"),
        ("site.socket", "is no service: write a name such as myapp.service"),
        ("getty@", "name an instance, such as getty@1.service"),
        ("systemd-tmpfiles-setup", "cannot be wrapped: it is a part of the system"),
        ("si*", "cannot name a service of sockact"),
    ):
        done = site.run("sockact", "wrap", name, check=False)
        assert done.returncode in (1, 2)
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert reason in done.stderr
    done = site.wrap("--dry-run")
    assert f"\n# {DROP_IN}\n# Written by `sockact wrap`" in done.stdout
    assert f"\nListenStream={ADDRESS}\n" in done.stdout
    done = site.wrap("--listen", "127.0.0.1:8001", check=False)
    assert f"the program binds {ADDRESS}, but no listener has that address" in done.stderr
    done = site.unwrap(check=False)
    assert "is not wrapped" in done.stderr
    site.is_plain(text)


def test_a_wrap_for_later(site: Site) -> None:
    text = site.install(*debian(site.machine))
    before = site.main_pid
    done = site.wrap("--no-restart", "--drain-timeout", "20s")
    assert "it takes effect with `systemctl restart site`" in done.stdout
    assert site.main_pid == before
    done = site.wrap(check=False)
    assert (
        "is wrapped already: for other options `sockact unwrap site.service` first" in done.stderr
    )
    # It has not taken effect, so nothing has to stop.
    site.unwrap()
    assert site.main_pid == before
    site.is_plain(text)
    site.wrap("--no-restart", "--drain-timeout", "20s")
    site.systemctl("restart", site.unit)
    site.releases.publish("2")
    site.systemctl("reload", site.unit)
    assert site.ask() == answers.fast("2").decode()
    drop_in = site.machine.path(DROP_IN)
    assert " --drain-timeout 20s -- " in drop_in.read_text()
    with drop_in.open("a") as file:
        file.write("MemoryMax=1G\n")
    done = site.unwrap(check=False)
    assert f"{DROP_IN} was changed since it was written" in done.stderr
    site.unwrap("--force")
    site.wait_serving()
    site.is_plain(text)


def test_a_service_that_does_not_run(site: Site) -> None:
    text = site.install(*debian(site.machine))
    site.systemctl("stop", site.unit)
    done = site.wrap(check=False)
    assert "write them, as in --listen 127.0.0.1:8000" in done.stderr
    done = site.wrap("--listen", ADDRESS)
    assert "next: `systemctl start site`" in done.stdout
    assert site.active() == {site.unit: "inactive", site.socket: "inactive"}
    site.systemctl("start", site.unit)
    assert site.ask() == answers.fast("1").decode()
    assert site.findings() == []
    # The socket alone is taken back, too.
    site.systemctl("stop", site.unit)
    site.unwrap()
    assert site.active() == {site.unit: "inactive", site.socket: "inactive"}
    site.systemctl("start", site.unit)
    site.wait_serving()
    site.is_plain(text)


def test_a_listener_of_another_ip_address(site: Site) -> None:
    """sockact adopts by the port; the way back has to know that, too."""
    text = site.install(*debian(site.machine))
    site.wrap("--listen", "0.0.0.0:8000")
    assert site.ask() == answers.fast("1").decode()
    done = site.unwrap()
    assert "nobody listened for " in done.stdout
    site.wait_serving()
    site.is_plain(text)


def test_a_wrap_that_was_killed(site: Site) -> None:
    text = site.install(*debian(site.machine))
    site.wrap("--no-restart")
    site.machine.path(DROP_IN).unlink()
    site.systemctl("daemon-reload")
    meanwhile = f"/run/systemd/system/{site.socket}.d/50-sockact.conf"
    site.machine.write(meanwhile, "[Socket]\nReusePort=yes\n")
    done = site.wrap(check=False)
    assert f"a wrap was cut short, and left {SOCKET}: `sockact unwrap " in done.stderr
    site.systemctl("stop", site.unit)
    done = site.wrap(check=False)
    assert "a wrap was cut short" in done.stderr
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
    site.unwrap()
    assert site.main_pid == before
    assert {site.ask() for _ in range(20)} == {answers.fast("1").decode()}
    site.is_plain(text)


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


@pytest.fixture
def own(machine: Machine) -> Iterator[Service]:
    """own.service of a user."""
    machine.run("install", "-d", "-o", USER, f"/home/{USER}", f"/home/{USER}/.config", check=True)
    releases = Releases(machine.path("/srv/app"))
    releases.publish("1")
    service = Service(machine, "own", releases, USER)
    start = f"[Service]\nExecStart=/usr/bin/gunicorn --bind {ADDRESS} {WSGI}\n"
    settings = SETTINGS.replace(f"User={USER}\n", "")
    service.run("mkdir", "-p", OWN_UNITS)
    service.run("sh", "-c", f"printf %s '{start}{settings}' > {OWN_UNITS}/own.service")
    service.systemctl("daemon-reload")
    service.systemctl("start", service.unit)
    yield service
    service.systemctl("stop", service.unit)
    machine.run("rm", "-r", f"/home/{USER}", check=True)
    shutil.rmtree(machine.path("/srv/app"))


@pytest.mark.usefixtures("user_manager")
def test_a_service_of_a_user(own: Service) -> None:
    def serving() -> bool:
        return own.machine.run("curl", "-s", URL).returncode == 0

    wait.until(serving, "its first answer")
    own.run("sockact", "wrap", "--user-unit", own.unit)
    assert own.active() == {own.unit: "active", own.socket: "active"}
    assert own.run("sockact", "check", "--user-unit", own.unit).stdout.count("\n") == 1
    own.releases.publish("2")
    own.systemctl("reload", own.unit)
    assert own.ask() == answers.fast("2").decode()
    own.run("sockact", "unwrap", "--user-unit", own.unit)
    wait.until(serving, "its first answer")
    assert own.run("sh", "-c", f"find {OWN_UNITS} -type f").stdout == f"{OWN_UNITS}/own.service\n"
