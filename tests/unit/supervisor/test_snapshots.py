"""The configurations that are kept."""

from __future__ import annotations

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


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "config").write_text("")
    kept = Snapshots(str(tmp_path), said.append)
    now = settings("1")
    kept.keep(now)
    kept.keep(now)
    assert len(said) == 1
    assert "cannot keep this configuration" in said[0]
