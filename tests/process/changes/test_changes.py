"""Changes below watched paths, noticed on a loop."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sockact.supervisor.base.loop import Loop
from sockact.supervisor.changes.watched_paths import WatchedPaths

if TYPE_CHECKING:
    from pathlib import Path


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
