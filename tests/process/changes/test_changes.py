"""Changes below watched paths, noticed on a loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sockact.supervisor.base.loop import Loop
from sockact.supervisor.changes.watched_paths import WatchedPaths

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def turn(loop: Loop, seconds: float = 0.3) -> None:
    """Run the loop until that time."""
    loop.at(time.monotonic() + seconds, loop.stop)
    loop.run()


def test_other_paths_and_an_end_while_it_looks_away(folder: Path) -> None:
    loop = Loop()
    heard: list[str] = []

    def changed(path: str, _what: object) -> None:
        heard.append(path)
        loop.stop()

    changes = WatchedPaths(loop, changed, heard.append)
    changes.watch((str(folder),), ())
    (folder / "file").write_text("1")
    loop.run()
    changes.watch((str(folder), "/nowhere"), ())
    changes.close()
    turn(loop)
    loop.close()
    assert {*heard} == {f"{folder}/file"}


def test_it_looks_away_for_longer_after_much_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = Loop()
    heard: list[str] = []

    def changed(path: str, _what: object) -> None:
        heard.append(path)
        loop.stop()

    changes = WatchedPaths(loop, changed, heard.append)
    changes.watch((str(folder),), ())
    # As if each reading took 0.06 s of CPU time.
    monkeypatch.setattr(time, "process_time", iter(x * 0.06 for x in range(100)).__next__)
    (folder / "first").mkdir()
    loop.run()
    (folder / "second").mkdir()
    turn(loop)
    assert {*heard} == {f"{folder}/first"}
    loop.run()
    changes.close()
    loop.close()
    assert {*heard} == {f"{folder}/first", f"{folder}/second"}
