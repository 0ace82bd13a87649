"""What takes longer runs only in `make test-packages`, and there it does not skip."""

from __future__ import annotations

import os
import shutil

import pytest

from sockact.units.render import templates

UNITS = tuple(
    name if "/" in name else f"system/{name}"
    for name in templates.files()
    if not name.startswith("examples/")
)
"""Below /usr/lib/systemd, in each package."""


def check(*tools: str) -> None:
    """Skip the test but for $SOCKACT_TEST_PACKAGES=insist; then fail it where a tool is missing."""
    if os.environ.get("SOCKACT_TEST_PACKAGES") != "insist":
        pytest.skip("takes longer: make test-packages")
    for tool in tools:
        if not shutil.which(tool):
            pytest.fail(f"{tool} is not installed: see bench/setup.sh", pytrace=False)
