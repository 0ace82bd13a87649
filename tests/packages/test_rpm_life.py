"""The life of an installed RPM package, on a booted machine that has what it depends on: init,
start, reload and upgrade under load, removal. With $SOCKACT_TEST_PACKAGES=insist.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests import ROOT
from tests.packages import rpms, wanted
from tests.packages.rpms import Rpm, files
from tests.servers.commands import WSGI
from tests.servers.releases import Releases
from tests.support import machine as machines
from tests.support import roots
from tests.support.machine import Machine
from tests.system import servers
from tests.system.conftest import SUITES
from tests.system.service import Service
from tests.system.units import ADDRESS, USER

if TYPE_CHECKING:
    from collections.abc import Iterator

# dpkg knows of what the package depends on, and rpm does not.
NODEPS = "--nodeps"
UNITS = "/etc/systemd/system"
PRESET = "/run/systemd/system-preset/00-test.preset"
ENV_FILE = "/etc/default/web"
# One that only the shim gates, as an instance of the template.
INSTANCE = "sockact@polled"
INSTANCE_ADDRESS = "127.0.0.1:8001"
INSTANCE_ENVIRONMENT = """\
SOCKACT_COMMAND="/usr/bin/python3 -m http.server --bind 127.0.0.1 8001"
SOCKACT_OPTIONS="--directory /srv/app/current/public"
"""
GUNICORN = ("gunicorn", "--bind", ADDRESS, "--workers", "2", "--threads", "8", WSGI)

pytestmark = pytest.mark.timeout(300, func_only=True)


class Built(NamedTuple):
    """Two packages; the later is an upgrade of the first."""

    first: Path
    later: Path


@pytest.fixture(scope="module")
def built() -> Iterator[Built]:
    wanted.check(*rpms.TOOLS)
    if reason := roots.missing() or machines.missing():
        pytest.fail(reason, pytrace=False)
    with tempfile.TemporaryDirectory(prefix="sockact-built-") as name:
        folder = Path(name)
        quick = ("--without", "check")
        first = rpms.build(folder / "first", *quick)
        yield Built(first, rpms.build(folder / "later", *quick, "--define", "dist .1"))


@pytest.fixture(params=SUITES)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A booted system without sockact, with a user and the applications of the tests."""
    with tempfile.TemporaryDirectory(prefix="sockact-layer-") as name:
        layer = Path(name)
        layer.chmod(0o755)
        apps = Path("tests/servers/apps")
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / apps, layer / "opt/zoo" / apps, ignore=ignore)
        # A distribution of RPMs has it.
        (layer / "usr/share/licenses").mkdir(parents=True)
        with Machine(roots.root(request.param), (layer,)) as booted:
            booted.run("useradd", "--system", "--user-group", USER, check=True)
            yield booted


@pytest.fixture
def rpm(machine: Machine, folder: Path) -> Rpm:
    return Rpm(machine, folder)


def init(machine: Machine) -> Service:
    """A service as its administrator makes it, started, with version 1 of its release."""
    releases = Releases(machine.path("/srv/app"))
    releases.publish("1")
    machine.write(ENV_FILE, "PYTHONPATH=/opt/zoo:.\n")
    service = Service(machine, "web", releases)
    words = ("--listen", ADDRESS, "--user", USER, "--env-file", ENV_FILE, "--enable")
    service.run(
        "sockact", "init", "web", *words, "--directory", "/srv/app/current", "--", *GUNICORN
    )
    service.systemctl("start", service.unit)
    return service


def instance(machine: Machine, releases: Releases) -> Service:
    """An instance of the template, started."""
    folder = f"{UNITS}/{INSTANCE}.socket.d"
    machine.write(f"{folder}/listen.conf", f"[Socket]\nListenStream={INSTANCE_ADDRESS}\n")
    machine.write("/etc/sockact/polled.env", INSTANCE_ENVIRONMENT)
    service = Service(machine, INSTANCE, releases)
    service.systemctl("daemon-reload")
    service.systemctl("enable", "--now", service.socket, service.unit)
    return service


def enabled(machine: Machine) -> list[str]:
    """The units of ours that some target wants."""
    return sorted(path.name for path in machine.path(UNITS).glob("*.wants/*sockact*"))


def test_what_it_requires_is_what_the_machine_has(built: Built, machine: Machine) -> None:
    form = "[%{REQUIRENAME} %{REQUIREVERSION}\n]"
    found = re.findall(r"^(python\S+) (\S*)$", rpms.query(built.first, form), re.MULTILINE)
    assert len(found) == 4
    for name, least in found:
        version = machine.run("dpkg-query", "-Wf", "${Version}", name, check=True).stdout
        command = ("dpkg", "--compare-versions", version, "ge", least or "0")
        assert machine.run(*command).returncode == 0, (name, version, least)


def test_reloads_and_an_upgrade_under_load(built: Built, machine: Machine, rpm: Rpm) -> None:
    rpm("--install", NODEPS, str(built.first))
    service = init(machine)
    polled = instance(machine, service.releases)
    pids = [one.main_pid for one in (service, polled)]
    with service.load(*servers.SHORT, servers.GUNICORN.long) as load:
        service.releases.publish("2")
        service.systemctl("reload", service.unit)
        said = rpm("--upgrade", NODEPS, str(built.later))
        assert "%posttrans(sockact-0.1.0-1.1.noarch): waitpid" in said
        assert "sockact-0.1.0-1.1" in rpm("--query", "sockact")
        assert service.status()["state"] == "serving"
        assert polled.show("NeedDaemonReload") == "no"
        # Generation 2 was started by the old code, and what its shim has not loaded is new.
        service.releases.publish("3")
        for one in (service, polled):
            one.systemctl("reload", one.unit)
        service.wait_status_text("generation 3 running; last reload: switched from 2 to 3")
        report = load.stop()
    assert not report.failures(), report.explain()
    assert set(report.total().versions) == {"1", "2", "3"}
    assert [one.main_pid for one in (service, polled)] == pids
    assert [one.show("NRestarts") for one in (service, polled)] == ["0", "0"]
    service.systemctl("stop", service.unit)
    assert service.show("Result") == "success"


def test_removal(built: Built, machine: Machine, rpm: Rpm) -> None:
    """The instances of its template end with it, what the administrator wrote goes on; in the end
    nothing is left.
    """
    before = files(machine)
    machine.write(PRESET, "enable sockact@.service wanted\ndisable sockact*\n")
    said = rpm("--install", NODEPS, str(built.first))
    assert re.search(r"%post\(sockact-0.1.0-1.noarch\): waitpid\(\d+\) rc \d+ status 0", said)
    # %systemd_post asks the presets.
    assert enabled(machine) == ["sockact@wanted.service"]
    service = init(machine)
    polled = instance(machine, service.releases)
    pid = service.main_pid
    # A Python that runs as root, and of another version than the package was built with.
    shim = machine.path("/usr/share/sockact/sockact/shim/__pycache__")
    (shim / "sitecustomize.cpython-38.pyc").write_bytes(b"")
    with service.load(*servers.SHORT) as load:
        said = rpm("--erase", NODEPS, "sockact")
        theirs = "sockact: these units remain, but cannot start without sockact:"
        assert f"{theirs} {UNITS}/web.service\n" in said
        assert [polled.show("ActiveState", name) for name in (polled.unit, polled.socket)] == [
            "inactive",
            "inactive",
        ]
        report = load.stop()
    assert not report.failures(), report.explain()
    assert enabled(machine) == []
    assert service.main_pid == pid
    # It still drains and ends properly, though all files of sockact are gone.
    service.systemctl("disable", "--now", service.socket, service.unit)
    assert service.show("Result") == "success"
    # What the administrator and the programs wrote is theirs.
    left = ("/etc/sockact", "/var/lib/sockact", "/var/lib/private/sockact")
    machine.run("rm", "-r", *left, ENV_FILE, check=True)
    for path in ("web.service", "web.socket", f"{INSTANCE}.socket.d"):
        machine.run("rm", "-r", f"{UNITS}/{path}", check=True)
    assert files(machine) == before
    assert not list(machine.path(UNITS).rglob("*sockact*"))
