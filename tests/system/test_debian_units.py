"""`sockact wrap`, three reloads and `unwrap` under load, for services of Debian's packages.

Only with $SOCKACT_TEST_SYSTEM=insist (`make test-system`), and only for one release: the root takes
minutes to make.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support import roots
from tests.support.machine import Machine
from tests.system import unit_table
from tests.system.unit_life import LONG, Run, check_life

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.system.unit_table import Case

SUITE = "trixie"
KIND = roots.Kind("units-", roots.SYSTEM.packages, cached=unit_table.PACKAGES)
INSTALL = ("apt-get", "-qq", "-y", "--no-install-recommends", "--no-download", "install")

pytestmark = pytest.mark.skipif(
    os.environ.get("SOCKACT_TEST_SYSTEM") != "insist", reason="SOCKACT_TEST_SYSTEM is not insist"
)


@pytest.fixture(scope="module")
def debian(_layer: Path) -> Iterator[Machine]:
    """A machine in which the packages were installed and have started their services."""
    with Machine(roots.root(SUITE, KIND), (_layer,)) as machine:
        machine.run("python3", "-m", "compileall", "-q", "/usr/lib/python3/dist-packages/sockact")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        words = (*INSTALL, *unit_table.PACKAGES)
        machine.run(*words, environment=quiet, timeout=LONG, check=True)
        yield machine


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", unit_table.DEBIAN, ids=lambda case: case.label or case.name)
def test_wrap_reload_and_unwrap(debian: Machine, case: Case) -> None:
    with Run(debian, case) as run:
        check_life(run)
