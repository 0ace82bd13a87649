"""Hooks that record their environment and then do what a test asks for."""

from __future__ import annotations

import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = ("pending", "running", "draining", "drained", "failed", "rolled_back", "canary")
# Records its environment, and then runs the file named like its event.
SCRIPT = """
import json, os, sys
told = {name: text for name, text in os.environ.items() if name.startswith("SOCKACT_")}
line = json.dumps({"told": told, "stdin": json.load(sys.stdin), "pid": os.getpid()})
with open(FOLDER + "/log", "a") as log:
    log.write(line + "\\n")
try:
    body = open(FOLDER + "/" + told["SOCKACT_EVENT"]).read()
except FileNotFoundError:
    body = ""
exec(body)
"""


class Told:
    """A hook for each event, and what they recorded."""

    def __init__(self, folder: Path, *events: str) -> None:
        self.folder = folder
        script = folder / "hook.py"
        script.write_text(f"FOLDER = {str(folder)!r}\n{SCRIPT}")
        command = shlex.join((sys.executable, "-I", "-S", str(script)))
        self.options: tuple[str, ...] = ()
        for event in events or EVENTS:
            self.options += ("--on", f"{event}={command}")

    def does(self, event: str, body: str) -> None:
        (self.folder / event).write_text(body)

    def notes(self) -> list[dict[str, Any]]:
        path = self.folder / "log"
        if not path.exists():
            return []
        # What follows the last end of a line is being written.
        return [json.loads(x) for x in path.read_text().split("\n")[:-1]]

    def events(self) -> list[tuple[str, int]]:
        return [(x["stdin"]["event"], x["stdin"]["generation"]) for x in self.notes()]

    def wait_for(self, event: str, number: int) -> dict[str, Any]:
        wait.until(lambda: (event, number) in self.events(), f"the hook {event} of {number}")
        found = self.notes()[self.events().index((event, number))]
        return found
