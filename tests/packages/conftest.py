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

from tests.packages.machines import Built, apps, install
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


@pytest.fixture
def clean(suite: str, built: Built) -> Iterator[Machine]:
    """A booted minimal system, with the packages in /packages and a user; no Python."""
    with apps(built) as layer, Machine(roots.root(suite, deb.user()), (layer,)) as booted:
        booted.run("useradd", "--system", "--user-group", "--create-home", USER, check=True)
        yield booted


@pytest.fixture
def installed(clean: Machine) -> Machine:
    """One with the package, and programs for it."""
    install(clean, "/packages/first.deb")
    install(clean, *deb.PROGRAMS)
    return clean
