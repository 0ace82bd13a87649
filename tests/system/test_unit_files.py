"""`sockact wrap`, three reloads and `unwrap` under load, for unit files as people write them.

`python -m pytest -rP tests/system/test_unit_files.py` prints what was stated and what was seen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.system import unit_table
from tests.system.unit_life import Run, check_life
from tests.system.unit_table import APPS, Case

if TYPE_CHECKING:
    from tests.support.machine import Machine


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
