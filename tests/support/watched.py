"""A service that watches paths, and the reloads that follow."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tests.support import varlink, wait
from tests.support.program import GOOD, Program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.conftest import StartService
    from tests.support.service import Service

# No test reloads more than ten times, which is the limit without a pause.
DELAY = ("--watch-delay", "0.2", "--watch-pause", "0")


class Watched:
    """A service that watches paths below `root`, and its handovers."""

    def __init__(
        self,
        start: StartService,
        folder: Path,
        *paths: str,
        options: tuple[str, ...] = DELAY,
        body: str = GOOD,
        launcher: tuple[str, ...] = (),
    ) -> None:
        self.root = folder / "site"
        self.root.mkdir(exist_ok=True)
        self.mark = folder / "marks"
        self.mark.mkdir()
        self.program = Program(folder)
        self.program.publish("1", body)
        watched = (self.mark, *(self.root / path for path in paths))
        words = [word for path in watched for word in ("--watch", str(path))]
        self.service: Service = start(
            self.program.command,
            listen=self.program.listen,
            options=(*words, *options),
            launcher=launcher,
        )

    def handovers(self) -> list[dict[str, Any]]:
        """The handovers that are over."""
        found = varlink.call(self.service.control, "History")["handovers"]
        return [one for one in found if one["outcome"] != "pending"]

    def wait_for(self, number: int) -> None:
        """Wait for this many handovers."""
        wait.until(lambda: len(self.handovers()) >= number, f"{number} reloads", 30.0)

    def once(self, change: Callable[[], object]) -> None:
        """The change leads to exactly one reload."""
        before = len(self.handovers())
        change()
        self.wait_for(before + 1)
        assert (self.handovers()[-1]["cause"], self.handovers()[-1]["outcome"]) == (
            "watch",
            "committed",
        )
        self.nothing()

    def nothing(self, change: Callable[[], object] = bool) -> None:
        """The change leads to no reload: the next one is only for what changes later."""
        before = len(self.handovers())
        change()
        mark = self.mark / str(before)
        mark.mkdir()
        self.wait_for(before + 1)
        assert f" 1 file changed ({mark}), reloading" in self.service.stderr
        assert len(self.handovers()) == before + 1


def replace(path: Path, text: str) -> None:
    following = path.with_name(f".{path.name}.tmp")
    following.write_text(text)
    os.replace(following, path)


def switch(link: Path, target: str) -> None:
    following = link.with_name("following.tmp")
    following.symlink_to(target)
    os.replace(following, link)
