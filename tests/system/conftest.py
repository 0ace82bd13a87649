"""Booted machines with sockact installed, and services in them.

$SOCKACT_TEST_SUITES names the Debian releases; with $SOCKACT_TEST_SYSTEM=insist, what keeps these
tests from running fails them instead of skipping them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol

import pytest

from tests import ROOT
from tests.servers.releases import Releases
from tests.support import machine as machines
from tests.support import roots
from tests.support.machine import Machine
from tests.system.service import Service
from tests.system.site import UNITS, Site
from tests.system.units import USER, Units

if TYPE_CHECKING:
    from collections.abc import Iterator

# One release is enough for most changes; `make test-system` uses all.
DEFAULT_SUITES = "trixie"
SUITES = tuple(os.environ.get("SOCKACT_TEST_SUITES", DEFAULT_SUITES).split())
TEST_TIMEOUT = 120

SCRIPT = """#!/usr/bin/python3
from sockact.__main__ import main
main()
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The timeout of a test excludes its fixtures, which build and boot."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT, func_only=True))


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("SOCKACT_TEST_SYSTEM") == "insist":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def _roots() -> dict[str, Path]:
    """The root of each suite, built if it is missing."""
    if reason := roots.missing() or machines.missing():
        _give_up(reason)
    try:
        return roots.roots(SUITES)
    except roots.CannotBuild as error:
        _give_up(str(error))


@pytest.fixture(scope="session")
def _layer() -> Iterator[Path]:
    """The project and the applications, as a package would install them."""
    with tempfile.TemporaryDirectory(prefix="sockact-layer-") as name:
        layer = Path(name)
        layer.chmod(0o755)
        ignore = shutil.ignore_patterns("__pycache__")
        packages = layer / "usr/lib/python3/dist-packages"
        shutil.copytree(ROOT / "sockact", packages / "sockact", ignore=ignore)
        script = layer / "usr/bin/sockact"
        script.parent.mkdir()
        script.write_text(SCRIPT)
        script.chmod(0o755)
        apps = Path("tests/servers/apps")
        shutil.copytree(ROOT / apps, layer / "opt/zoo" / apps, ignore=ignore)
        yield layer


@pytest.fixture(scope="module", params=SUITES)
def machine(
    request: pytest.FixtureRequest, _roots: dict[str, Path], _layer: Path
) -> Iterator[Machine]:
    """A booted systemd of a Debian release, for all tests of a module."""
    with Machine(_roots[request.param], (_layer,)) as booted:
        booted.run("useradd", "--system", "--user-group", "--create-home", USER, check=True)
        # As the package does it; the service may not write there.
        booted.run("python3", "-m", "compileall", "-q", "/usr/lib/python3/dist-packages/sockact")
        yield booted


@pytest.fixture
def user_manager(machine: Machine) -> Iterator[None]:
    """A user manager of USER runs."""
    # Without pam_systemd, which would say so.
    runtime = "[Service]\nEnvironment=XDG_RUNTIME_DIR=/run/user/%i\n"
    machine.write("/etc/systemd/system/user@.service.d/runtime.conf", runtime)
    machine.systemctl("daemon-reload", check=True)
    unit = f"user@{machine.uid(USER)}.service"
    machine.systemctl("start", unit, check=True)
    yield
    machine.systemctl("stop", unit, f"user-runtime-dir@{machine.uid(USER)}.service", check=True)


class Deploy(Protocol):
    """The call of the `deploy` fixture."""

    def __call__(
        self, units: Units, *, import_seconds: float = 0.0, start: bool = True, user: str = ""
    ) -> Service: ...


@pytest.fixture
def deploy(machine: Machine) -> Iterator[Deploy]:
    """Install a service with version 1 of its release, and start it, or only its .socket unit.

    `user` is whose own manager is to have it, which must run.
    """
    with contextlib.ExitStack() as undo:

        def deploy(
            units: Units, *, import_seconds: float = 0.0, start: bool = True, user: str = ""
        ) -> Service:
            undo.callback(shutil.rmtree, machine.path("/srv/app"))
            releases = Releases(machine.path("/srv/app"), import_seconds)
            releases.publish("1")
            service = Service(machine, units.name, releases, user)
            undo.callback(_remove, service)
            for file, text in units.texts().items():
                machine.write(f"{_folder(service)}/{file}", text)
            service.systemctl("daemon-reload")
            if units.socket:
                service.systemctl("start", service.socket)
            if start:
                service.systemctl("start", service.unit)
            return service

        yield deploy


@pytest.fixture
def site(machine: Machine) -> Iterator[Site]:
    """site.service, not yet written; removed at the end, with what `sockact wrap` leaves."""
    releases = Releases(machine.path("/srv/app"))
    releases.publish("1")
    yield Site(machine, "site", releases)
    # One by one: in new versions, one that is not there keeps the others from being stopped.
    for unit in ("site.socket", "site.service"):
        machine.systemctl("stop", unit)
    machine.run("sh", "-c", f"rm -rf {UNITS}/site.* /srv/venv {UNITS}/site.service.d")
    machine.systemctl("daemon-reload", check=True)
    machine.systemctl("reset-failed", "site.service", "site.socket")
    shutil.rmtree(machine.path("/srv/app"))


def _folder(service: Service) -> str:
    return "/etc/systemd/user" if service.user else "/etc/systemd/system"


def _remove(service: Service) -> None:
    folder = service.machine.path(_folder(service))
    units = [unit for unit in (service.socket, service.unit) if (folder / unit).exists()]
    # Whatever is to be seen of a stop has been seen; this one is only quick.
    service.systemctl("kill", "--signal=KILL", service.unit, check=False)
    service.systemctl("stop", *units)
    for unit in units:
        (folder / unit).unlink()
    shutil.rmtree(folder / f"{service.unit}.d")
    service.systemctl("reset-failed", *units, check=False)
    service.systemctl("daemon-reload")
