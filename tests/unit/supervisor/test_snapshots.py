"""The configurations that are kept."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sockact.core.history import snapshots
from sockact.core.settings import Settings
from sockact.supervisor.records.snapshots import Snapshots

if TYPE_CHECKING:
    from pathlib import Path


def settings(text: str) -> Settings:
    return Settings("a", ("a",), config="/etc/sockact/a.toml", config_text=text)


def test_names() -> None:
    names = ["10.toml", "9.yaml", "01.toml", "x.toml", "3", "4.toml.new", "٣.toml", "1" * 50 + ".a"]
    assert snapshots.numbered(names) == {9: "9.yaml", 10: "10.toml"}


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    said: list[str] = []
    kept = Snapshots(str(tmp_path), said.append)
    for number in range(snapshots.MOST + 5):
        kept.keep(settings(str(number)))
        kept.keep(settings(str(number)))
    there = snapshots.numbered([path.name for path in (tmp_path / "config").iterdir()])
    assert [*there] == [*range(6, snapshots.MOST + 6)]
    assert (tmp_path / "config" / "6.toml").read_text() == "5"
    assert said == []


def test_no_link_is_followed(tmp_path: Path) -> None:
    """The program may write to the state directory."""
    other = tmp_path / "other"
    other.mkdir()
    there = {f"{number}.toml": "as before" for number in range(1, snapshots.MOST + 5)}
    for name, text in there.items():
        (other / name).write_text(text)
    (tmp_path / "config").symlink_to(other)
    said: list[str] = []
    Snapshots(str(tmp_path), said.append).keep(settings("1"))
    assert {path.name: path.read_text() for path in other.iterdir()} == there
    assert said == [f"cannot keep this configuration in {tmp_path}/config: Not a directory"]


def test_a_directory_that_is_full_of_other_things(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    for number in range(snapshots.MOST_ENTRIES + 1):
        os.symlink("x", tmp_path / "config" / str(number))
    said: list[str] = []
    Snapshots(str(tmp_path), said.append).keep(settings("1"))
    assert len(said) == 1
    assert "more than 10000 entries" in said[0]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "config").write_text("")
    kept = Snapshots(str(tmp_path), said.append)
    now = settings("1")
    kept.keep(now)
    kept.keep(now)
    assert len(said) == 1
    assert "cannot keep this configuration" in said[0]
