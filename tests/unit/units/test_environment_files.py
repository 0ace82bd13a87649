"""EnvironmentFile=: a path that the service's user may have made lead anywhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sockact.units import facts
from sockact.units.wrap import refusals


def variables(path: Path) -> dict[str, str]:
    return facts._variables(unit(path), {})


def unit(path: Path) -> facts.Unit:
    return facts.Unit("app.service", {"EnvironmentFiles": f"{path} (ignore_errors=no)"})


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "env").write_text("PORT=8000\n")
    assert variables(tmp_path / "env") == {"PORT": "8000"}
    assert facts.odd_environment_file(unit(tmp_path / "env")) == ""


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["fifo", "endless", "missing"])
def test_what_is_no_file_is_not_read(tmp_path: Path, kind: str) -> None:
    if kind == "fifo":
        os.mkfifo(tmp_path / "env")
    elif kind == "endless":
        (tmp_path / "env").symlink_to("/dev/zero")
    assert variables(tmp_path / "env") == {}
    odd = str(tmp_path / "env") if kind != "missing" else ""
    assert facts.odd_environment_file(unit(tmp_path / "env")) == odd
    assert refusals.odd_environment(unit(tmp_path / "env")).partition(" is not ")[0] == (
        f"EnvironmentFile={odd}" if odd else ""
    )


def test_the_files_of_a_pattern(tmp_path: Path) -> None:
    (tmp_path / "a.env").write_text("PORT=1\n")
    assert variables(tmp_path / "*.env") == {"PORT": "1"}
    assert facts.odd_environment_file(unit(tmp_path / "*.env")) == ""
    os.mkfifo(tmp_path / "b.env")
    assert facts.odd_environment_file(unit(tmp_path / "*.env")) == str(tmp_path / "b.env")


@pytest.mark.parametrize("linked", [False, True])
def test_the_null_device_is_an_empty_file(tmp_path: Path, linked: bool) -> None:
    """Unit files name it, and `ln -s /dev/null` masks a file."""
    (tmp_path / "env").symlink_to("/dev/null")
    path = tmp_path / "env" if linked else Path("/dev/null")
    assert variables(path) == {}
    assert facts.odd_environment_file(unit(path)) == ""


def test_a_file_without_end_is_read_to_a_limit(tmp_path: Path) -> None:
    with (tmp_path / "env").open("wb") as file:
        file.write(b"PORT=8000\n")
        file.truncate(1 << 40)
    assert variables(tmp_path / "env")["PORT"] == "8000"
