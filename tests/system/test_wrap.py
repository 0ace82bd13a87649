"""`sockact wrap` and `unwrap` beside a real systemd: services as administrators write them, under
load, and taken back when they do not start.
"""

from __future__ import annotations

import shutil
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

# At wrap and unwrap, kept connections end in the program's own way.
LOAD = Load(Kind.NEW, 4, pause=0.02)
OWN_UNITS = f"/home/{USER}/.config/systemd/user"


@pytest.mark.parametrize("kind", [debian, own_venv])
def test_wrap_reload_unwrap_under_load(
    site: Site, kind: Callable[[Machine], tuple[str, ...]]
) -> None:
    text = site.install(*kind(site.machine))
    with site.load(LOAD) as load:
        done = site.wrap()
        report = load.stop()
    assert "no connections were refused; new connections waited up to " in done.stdout
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
    # Waiting clients are served, new ones try again; but the port is free for a moment.
    with site.load(LOAD, servers.GUNICORN.long) as load:
        done = site.unwrap()
        site.wait_serving()
        report = load.stop()
    assert {*report.total().failures} <= {Failure.REFUSED}, report.explain()
    assert "connections were refused for " in done.stdout
    assert site.ask() == answers.fast("2").decode()
    site.is_plain(text)


def test_lanes_under_load(site: Site) -> None:
    """systemd opens them beside the running program, whose user could not."""
    text = site.install(*debian(site.machine))
    with site.load(LOAD) as load:
        site.wrap("--listen-lanes", "3")
        for version in "23":
            site.releases.publish(version)
            site.systemctl("reload", site.unit)
            assert site.ask() == answers.fast(version).decode()
        report = load.stop()
    assert not report.failures(), report.explain()
    lines = site.machine.path(SOCKET).read_text().splitlines()
    assert lines.count(f"ListenStream={ADDRESS}") == 3
    assert {g["gate_by"] for g in site.status()["generations"]} == {"lane"}
    assert [one for one in site.findings() if "tcp_migrate_req" not in one] == []
    site.unwrap()
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
    assert "connections were refused for " in done.stdout
    assert site.findings() == []
    status = ("stat", "-c", "%U %G %a", path)
    assert site.run(*status).stdout == f"{USER} daemon 660\n"
    # The program's user owns the directory and could put a link there, which SocketUser= follows.
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
    """With an existing .socket unit no client is lost, at wrap and at unwrap."""
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
    assert "no connections were refused" in done.stdout
    assert "were refused for" not in taken_back.stdout
    assert not report.failures(), report.explain()
    assert site.there(SOCKET)
    assert not site.there(DROP_IN)
    assert site.machine.path(f"{UNITS}/{site.unit}").read_text() == text


# Notes a SIGTERM that comes before it has grown up; a gunicorn worker would lose it.
YOUNG = """
import http.server, os, pathlib, signal, sys, threading
grown = pathlib.Path(f"/srv/grown-{os.getpid()}")
def stop(*_):
    if not grown.exists():
        pathlib.Path("/srv/young").touch()
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
threading.Timer(0.8, grown.touch).start()
class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"""


def test_the_release_of_the_test_reload_is_not_stopped_at_once(site: Site) -> None:
    site.machine.write("/srv/young.py", YOUNG)
    site.machine.run("chown", USER, "/srv", check=True)
    text = site.install("ExecStart=/usr/bin/python3 /srv/young.py")
    site.wrap()
    serving = site.status()["generations"][0]["pid"]
    wait.until(lambda: site.there(f"/srv/grown-{serving}"), "the first release to grow up")
    # The trial was stopped early, which no client notices.
    site.machine.path("/srv/young").unlink(missing_ok=True)
    site.unwrap()
    site.wait_serving()
    assert not site.there("/srv/young")
    site.is_plain(text)


def test_what_is_refused_and_what_is_only_shown(site: Site) -> None:
    text = site.install(*debian(site.machine))
    site.machine.systemctl("mask", "--runtime", "nothing.service", check=True)
    for name, reason in (
        ("nowhere", "there is no unit nowhere.service"),
        ("nothing", "nothing.service is not loaded (masked)"),
        ("site.socket", "is not a service; write a name such as myapp.service"),
        ("getty@", "write an instance, such as getty@1.service"),
        ("systemd-tmpfiles-setup", "cannot be wrapped: Type=oneshot"),
        ("si*", "cannot name a service of sockact"),
    ):
        done = site.run("sockact", "wrap", name, check=False)
        assert done.returncode in (1, 2)
        assert (done.stdout, done.stderr.count("\n")) == ("", 1)
        assert reason in done.stderr
    done = site.wrap("--dry-run")
    assert f"\n# {DROP_IN}\n# Written by `sockact wrap`" in done.stdout
    assert f"\nListenStream={ADDRESS}\n" in done.stdout
    # Newer versions of gunicorn have a socket of their own beside it, which is left alone.
    assert done.stdout.startswith(f"site.service: site.socket would own {ADDRESS}\n")
    assert f"\n  would write {SOCKET}\n" in done.stdout
    done = site.wrap("--listen", "127.0.0.1:8001", check=False)
    assert f"the program binds {ADDRESS}, but no listener has that address" in done.stderr
    done = site.unwrap(check=False)
    assert "is not wrapped" in done.stderr
    site.is_plain(text)


def test_drop_ins_of_the_administrator(site: Site) -> None:
    """What `systemctl edit` writes is read before ours; what is read after it is refused."""
    site.install(*debian(site.machine))
    folder = f"{UNITS}/{site.unit}.d"
    start = f"ExecStart=\nExecStart=/usr/bin/gunicorn --bind {ADDRESS} {WSGI}\n"
    try:
        site.machine.write(f"{folder}/override.conf", f"[Service]\n{start}KillMode=process\n")
        site.machine.write(f"{folder}/zzz.conf", "[Service]\nType=exec\n")
        site.systemctl("daemon-reload")
        done = site.wrap(check=False)
        assert done.returncode == 1
        assert f"cannot be wrapped: {folder}/zzz.conf, which systemd reads after" in done.stderr
        site.machine.path(f"{folder}/zzz.conf").unlink()
        site.systemctl("daemon-reload")
        site.wrap()
        assert site.findings() == []
        assert site.status()["generations"]
        site.machine.write(
            f"{folder}/override.conf", f"[Service]\n{start.replace(' --b', ' -w 3 --b')}"
        )
        site.systemctl("daemon-reload")
        (finding,) = site.findings()
        assert "it has changed since `sockact wrap`, but zz-sockact.conf overrides it" in finding
        site.unwrap()
    finally:
        site.machine.path(f"{folder}/override.conf").unlink()


def test_a_drop_in_that_appears_meanwhile(site: Site) -> None:
    """The restart succeeds for systemd, but sockact does not run."""
    text = site.install(*debian(site.machine))
    start = f"ExecStart=\nExecStart=/usr/bin/gunicorn --bind {ADDRESS} {WSGI}\n"
    # Not loaded yet: whoever reads the unit now does not know of it.
    site.machine.write(f"{UNITS}/{site.unit}.d/zzz.conf", f"[Service]\nType=exec\n{start}")
    done = site.wrap(check=False)
    assert (
        "site.service is running without sockact; see `systemctl cat site.service` for"
        in done.stderr
    )
    assert "; all changes were undone; connections were refused for " in done.stderr
    site.machine.path(f"{UNITS}/{site.unit}.d/zzz.conf").unlink()
    site.wait_serving()
    site.is_plain(text)


def test_a_wrap_without_restart(site: Site) -> None:
    text = site.install(*debian(site.machine))
    before = site.main_pid
    done = site.wrap("--no-restart", "--drain-timeout", "20s")
    assert "apply it with `systemctl restart site`" in done.stdout
    assert site.main_pid == before
    done = site.wrap(check=False)
    assert (
        "is already wrapped; to change its options, run `sockact unwrap site.service` first"
        in done.stderr
    )
    # It has not taken effect, so nothing has to be stopped.
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
    assert f"{DROP_IN} has changed since `sockact wrap` wrote it" in done.stderr
    site.unwrap("--force")
    site.wait_serving()
    site.is_plain(text)


def test_a_service_that_does_not_run(site: Site) -> None:
    text = site.install(*debian(site.machine))
    site.systemctl("stop", site.unit)
    done = site.wrap(check=False)
    assert "add --listen ADDR, as in --listen 127.0.0.1:8000" in done.stderr
    done = site.wrap("--listen", ADDRESS)
    assert "start it with `systemctl start site`" in done.stdout
    (finding,) = site.findings()
    assert "it is inactive, so clients are refused" in finding
    assert site.active() == {site.unit: "inactive", site.socket: "inactive"}
    site.systemctl("start", site.unit)
    assert site.ask() == answers.fast("1").decode()
    assert site.findings() == []
    # The .socket unit alone is removed, too.
    site.systemctl("stop", site.unit)
    site.unwrap()
    assert site.active() == {site.unit: "inactive", site.socket: "inactive"}
    site.systemctl("start", site.unit)
    site.wait_serving()
    site.is_plain(text)


@pytest.fixture
def own(machine: Machine) -> Iterator[Service]:
    """own.service of a user manager."""
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
def test_a_user_service(own: Service) -> None:
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


@pytest.mark.usefixtures("user_manager")
def test_a_socket_file_of_a_user_service(own: Service) -> None:
    """In its RuntimeDirectory=, which is removed with the service by default."""
    path = f"/run/user/{own.machine.uid(USER)}/own/http.sock"
    change = rf"s|--bind [^ ]*|--bind unix:{path}|; s|^ExecStart|RuntimeDirectory=own\nExecStart|"
    own.run("sed", "-i", change, f"{OWN_UNITS}/own.service")
    own.systemctl("daemon-reload")
    own.systemctl("restart", own.unit)

    def ask() -> str:
        return own.machine.run("curl", "-s", "--unix-socket", path, f"{URL}/fast").stdout

    wait.until(ask, "its first answer")
    own.run("sockact", "wrap", "--user-unit", own.unit)
    own.systemctl("restart", own.unit)
    assert own.active() == {own.unit: "active", own.socket: "active"}
    assert ask() == answers.fast("1").decode()
    own.run("sockact", "unwrap", "--user-unit", own.unit)
    wait.until(ask, "its first answer")
