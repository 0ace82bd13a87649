"""`sockact wrap`, three reloads and `unwrap` under load, for unit files as people write them.

`SOCKACT_TEST_SYSTEM=insist python -m pytest -rP tests/system/test_unit_files.py` prints what was
stated and what was seen. Not in `make test`: beside other tests, clients that unwrap cuts off in
the old queue are not always stated.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.system import unit_table
from tests.system.unit_life import Run, check_life
from tests.system.unit_table import APPS, Case

if TYPE_CHECKING:
    from tests.support.machine import Machine

pytestmark = pytest.mark.skipif(
    os.environ.get("SOCKACT_TEST_SYSTEM") != "insist", reason="SOCKACT_TEST_SYSTEM is not insist"
)


@pytest.fixture(scope="module")
def apps(machine: Machine) -> None:
    """The programs of the table."""
    for path, text in APPS.items():
        machine.write(path, text)


@pytest.mark.usefixtures("apps")
@pytest.mark.parametrize("case", unit_table.OWN, ids=lambda case: case.label or case.name)
def test_wrap_reload_and_unwrap(machine: Machine, case: Case) -> None:
    with Run(machine, case) as run:
        check_life(run)
