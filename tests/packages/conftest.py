"""The packages of each Debian release, built once, and booted machines without sockact.

They take minutes: only with $SOCKACT_TEST_PACKAGES=insist, as `make test-packages` sets it, and
then what keeps them from running fails them. $SOCKACT_TEST_SUITES names the releases.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.packages.machines import Built, apps, apt, install, remove_services
from tests.support import deb, roots
from tests.support import machine as machines
from tests.support.machine import Machine
from tests.system.units import USER

if TYPE_CHECKING:
    from collections.abc import Iterator

CHOSEN = os.environ.get("SOCKACT_TEST_SUITES", " ".join(deb.SUITES)).split()
SUITES = tuple(suite for suite in deb.SUITES if suite in CHOSEN)
TEST_TIMEOUT = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The time of a test does not count that of the fixtures, which build."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(TEST_TIMEOUT, func_only=True))


@pytest.fixture(scope="session", params=SUITES)
def suite(request: pytest.FixtureRequest) -> str:
    """A Debian release whose roots are there."""
    if os.environ.get("SOCKACT_TEST_PACKAGES") != "insist":
        pytest.skip("takes minutes: make test-packages")
    if reason := roots.missing() or machines.missing():
        pytest.fail(reason, pytrace=False)
    name = str(request.param)
    for kind in (deb.builder(), deb.user()):
        roots.root(name, kind)
    return name


@pytest.fixture(scope="session")
def built(suite: str) -> Iterator[Built]:
    """The package, and one of a later version."""
    with tempfile.TemporaryDirectory(prefix="sockact-built-") as name:
        folder = Path(name)
        deb.build(suite, folder / "first")
        deb.build(suite, folder / "later", "9.0.0-1", tests=False)
        yield Built(folder / "first", folder / "later")


@pytest.fixture(scope="module")
def machine(suite: str, built: Built) -> Iterator[Machine]:
    """A booted minimal system, in which Python, what the package needs, and programs came with the
    first installation of the package. It has been purged since.
    """
    with apps(built) as layer, Machine(roots.root(suite, deb.user()), (layer,)) as booted:
        assert booted.run("which", "python3").returncode != 0
        booted.run("useradd", "--system", "--user-group", "--create-home", USER, check=True)
        install(booted, "/packages/first.deb")
        booted.run("sockact", "--version", check=True)
        install(booted, *deb.PROGRAMS)
        apt(booted, "purge", "sockact")
        yield booted


@pytest.fixture
def installed(machine: Machine) -> Iterator[Machine]:
    """One with the package. What a test makes with it is taken away."""
    install(machine, "/packages/first.deb")
    yield machine
    remove_services(machine)
    # The test may have done it.
    machine.run("dpkg", "--purge", "sockact", check=True)
