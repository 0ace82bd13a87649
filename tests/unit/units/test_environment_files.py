"""EnvironmentFile=: a path that the service's user may have made lead anywhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sockact.units import facts

if TYPE_CHECKING:
    from pathlib import Path


def variables(path: Path) -> dict[str, str]:
    properties = {"EnvironmentFiles": f"{path} (ignore_errors=no)"}
    return facts._variables(facts.Unit("app.service", properties), {})


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("PORT=8000\n")
    assert variables(tmp_path / "env") == {"PORT": "8000"}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["fifo", "endless", "missing"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(tmp_path / "env")
    elif kind == "endless":
        (tmp_path / "env").symlink_to("/dev/zero")
    assert variables(tmp_path / "env") == {}


def test_a_file_without_end_is_read_to_a_limit(tmp_path: Path) -> None:
    with (tmp_path / "env").open("wb") as file:
        file.write(b"PORT=8000\n")
        file.truncate(1 << 40)
    assert variables(tmp_path / "env")["PORT"] == "8000"
