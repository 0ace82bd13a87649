"""What takes longer runs only in `make test-packages`, and there it does not skip."""

from __future__ import annotations

import os
import shutil

import pytest


def check(*tools: str) -> None:
    """Skip the test but for $SOCKACT_TEST_PACKAGES=insist; then fail it where a tool is missing."""
    if os.environ.get("SOCKACT_TEST_PACKAGES") != "insist":
        pytest.skip("takes longer: make test-packages")
    for tool in tools:
        if not shutil.which(tool):
            pytest.fail(f"{tool} is not installed: see bench/setup.sh", pytrace=False)
