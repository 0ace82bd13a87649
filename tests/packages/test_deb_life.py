"""The life of an installed Debian package: services, upgrades under load, removal, purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bench.load import Plan
from bench.process import LoadProcess
from tests.packages import pythons
from tests.packages.machines import UNITS, apt, files, install, remove_services
from tests.servers.commands import WSGI
from tests.servers.releases import Releases
from tests.system import servers
from tests.system.service import LONGEST, Service
from tests.system.units import USER

if TYPE_CHECKING:
    from tests.support.machine import Machine

ENV_FILE = "/srv/zoo.env"
MAIN = "127.0.0.1:8000"
POLLED = "127.0.0.1:8001"
GUNICORN = ("gunicorn", "--bind", MAIN, "--workers", "2", "--threads", "8", WSGI)
HTTP_SERVER = ("python3", "-m", "http.server", "--bind", "127.0.0.1", "8001")


def init(machine: Machine, name: str, address: str, folder: str, *program: str) -> Service:
    """A service as its administrator makes it, started, with version 1 of its release."""
    releases = Releases(machine.path("/srv/app"))
    if not releases.current.exists():
        releases.publish("1")
    machine.write(ENV_FILE, "PYTHONPATH=/opt/zoo:.\n")
    service = Service(machine, name, releases)
    words = ("--listen", address, "--user", USER, "--env-file", ENV_FILE, "--enable")
    service.run("sockact", "init", name, *words, "--directory", folder, "--", *program)
    service.systemctl("start", service.unit)
    return service


def both(machine: Machine) -> tuple[Service, Service]:
    """One that is gated from outside, and one that only its shim can gate."""
    gunicorn = init(machine, "gunicorn", MAIN, "/srv/app/current", *GUNICORN)
    polled = init(machine, "polled", POLLED, "/srv/app/current/public", *HTTP_SERVER)
    return gunicorn, polled


def load(machine: Machine, address: str) -> LoadProcess:
    """Clients of short requests and long ones, if the server has such."""
    loads = servers.SHORT if address == POLLED else (*servers.SHORT, servers.GUNICORN.long)
    return LoadProcess(Plan(address, loads, LONGEST), machine.enter("--net"))


def test_an_upgrade_under_load(installed: Machine) -> None:
    services = both(installed)
    pids = [service.main_pid for service in services]
    with load(installed, MAIN) as first, load(installed, POLLED) as second:
        for one in (first, second):
            one.wait_started()
        services[0].releases.publish("2")
        for service in services:
            service.systemctl("reload", service.unit)
        install(installed, "/packages/later.deb")
        assert installed.run("sockact", "--version").stdout == "sockact 9.0.0\n"
        states = [service.status() for service in services]
        assert [state["state"] for state in states] == ["serving", "serving"]
        assert [state["version"] for state in states] == ["9.0.0", "9.0.0"]
        # Generation 2 was started by the old code, and what its shim has not loaded is new.
        services[0].releases.publish("3")
        for service in services:
            service.systemctl("reload", service.unit)
            service.wait_status_text("generation 3 running; last reload: switched from 2 to 3")
        reports = [one.stop() for one in (first, second)]
    for report in reports:
        assert not report.failures(), report.explain()
        assert set(report.total().versions) == {"1", "2", "3"}
    assert [service.main_pid for service in services] == pids
    for service in services:
        assert service.show("NRestarts") == "0"
        service.systemctl("stop", service.unit)
        assert service.show("Result") == "success"


def test_removal_and_purge(machine: Machine) -> None:
    before = files(machine)
    assert not [line for line in before if "sockact" in line]
    install(machine, "/packages/first.deb")
    service, polled = both(machine)
    polled.systemctl("disable", "--now", polled.socket, polled.unit)
    with load(machine, MAIN) as clients:
        clients.wait_started()
        said = apt(machine, "remove", "sockact")
        assert "sockact: still running: gunicorn; they keep running until stopped" in said
        kept = [f"{UNITS}/{name}.service" for name in ("gunicorn", "polled")]
        assert f"these units remain, but cannot start without sockact: {' '.join(kept)}" in said
        assert service.active() == {service.unit: "active", service.socket: "active"}
        assert service.systemctl("reload", service.unit, check=False).returncode != 0
        apt(machine, "purge", "sockact")
        for path in ("/run/sockact/gunicorn/control", "/var/lib/sockact/gunicorn/starts.json"):
            assert machine.path(path).exists()
        report = clients.stop()
    assert not report.failures(), report.explain()
    # It still drains and ends properly, though all of its files are gone.
    service.systemctl("stop", service.socket, service.unit)
    assert service.show("Result") == "success"
    remove_services(machine)
    # What it had to leave goes with a purge at which nothing runs.
    install(machine, "/packages/first.deb")
    apt(machine, "purge", "sockact")
    assert files(machine) == before


def test_a_purge_keeps_what_the_programs_wrote(installed: Machine) -> None:
    address = "127.0.0.1:8000"
    code = "import os; open(os.environ['STATE_DIRECTORY'] + '/mine', 'w'); import http.server; "
    code += "http.server.test(port=8000, bind='127.0.0.1')"
    for name in ("one", "two"):
        words = ("--listen", address, "--", "python3", "-c", code)
        installed.run("sockact", "init", name, *words, check=True)
        installed.systemctl("daemon-reload", check=True)
        installed.systemctl("start", f"{name}.socket", f"{name}.service", check=True)
        installed.systemctl("stop", f"{name}.socket", f"{name}.service", check=True)
    state = installed.path("/var/lib/private/sockact")
    assert {path.name for path in (state / "one").iterdir()} == {"mine", "starts.json"}
    (state / "two/mine").unlink()
    # Of a service's user who means harm: whoever opens it waits for ever.
    installed.run("sh", "-c", "mkdir /run/sockact/bad; mkfifo /run/sockact/bad/lock", check=True)
    said = apt(installed, "purge", "sockact")
    assert "sockact: keeping /var/lib/private/sockact/one, which has files of the program" in said
    assert [path.name for path in state.iterdir()] == ["one"]
    assert [path.name for path in (state / "one").iterdir()] == ["mine"]
    assert [path.name for path in installed.path("/var/lib/sockact").iterdir()] == ["one"]
    assert not installed.path("/run/sockact").exists()


def test_instances_are_left_alone(installed: Machine) -> None:
    Releases(installed.path("/srv/app")).publish("1")
    drop_in = f"{UNITS}/sockact@web.socket.d/listen.conf"
    installed.write(drop_in, f"[Socket]\nListenStream={MAIN}\n")
    command = f"/usr/bin/python3 -m http.server --bind {MAIN.replace(':', ' ')}"
    options = "--directory /srv/app/current/public"
    installed.write(
        "/etc/sockact/web.env", f'SOCKACT_COMMAND="{command}"\nSOCKACT_OPTIONS="{options}"\n'
    )
    service = Service(installed, "sockact@web", Releases(installed.path("/srv/app")))
    service.systemctl("daemon-reload")
    service.systemctl("enable", "--now", service.socket)
    assert service.ask() == "version 1\n"
    before = service.main_pid
    invocation = service.show("InvocationID")
    install(installed, "/packages/later.deb")
    assert service.show("NeedDaemonReload") == "no"
    service.systemctl("reload", service.unit)
    apt(installed, "remove", "sockact")
    assert (service.main_pid, service.show("InvocationID")) == (before, invocation)
    assert service.ask() == "version 1\n"


def test_the_exporter_waits_until_it_is_wanted(installed: Machine) -> None:
    unit = "sockact-exporter.socket"

    def state() -> tuple[str, str]:
        words = [
            installed.systemctl(word, unit).stdout.strip() for word in ("is-enabled", "is-active")
        ]
        return words[0], words[1]

    assert state() == ("disabled", "inactive")
    installed.systemctl("enable", "--now", unit, check=True)
    install(installed, "/packages/later.deb")
    assert state() == ("enabled", "active")
    apt(installed, "remove", "sockact")
    assert state()[1] == "inactive"


def run_script(machine: Machine, name: str, **environment: str) -> None:
    """One of debian/tests. As its restrictions have it, what is on stderr is a failure."""
    done = machine.run(f"/opt/debian-tests/{name}", timeout=120, environment=environment)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("name", ["reload", "virtualenv"])
def test_autopkgtest(installed: Machine, name: str) -> None:
    run_script(installed, name)


def test_a_virtual_environment_of_another_python(installed: Machine, suite: str) -> None:
    other = pythons.OTHER[suite]
    pythons.install(other, installed)
    said = installed.run(other.python, "--version", check=True).stdout
    assert said.startswith(f"Python {other.version}.")
    assert (
        installed.run("/usr/bin/python3", "--version").stdout.split(".")[:2] != said.split(".")[:2]
    )
    run_script(installed, "virtualenv", PYTHON=other.python)
    # No other Python's byte code is left.
    private = installed.path("/usr/share/sockact")
    tag = f"cpython-{other.version.replace('.', '')}"
    assert not list(private.rglob(f"*.{tag}.pyc"))
    # Of a program that may write there, it goes with the package.
    shim = "/usr/share/sockact/sockact/shim"
    variables = {"PYTHONPATH": shim, "SOCKACT_SHIM": "nobody"}
    written = installed.run(other.python, "-c", "", environment=variables)
    assert (written.returncode, written.stdout + written.stderr) == (0, "")
    assert list(private.rglob(f"*.{tag}.pyc"))
    apt(installed, "remove", "sockact")
    assert not private.exists()
