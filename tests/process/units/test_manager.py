"""What is asked of the journal; the commands are stand-ins that write down how they are called."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sockact.units.manager import Manager
from sockact.units.wrap.service import Service
from sockact.units.wrap.service_files import ServiceFiles
from sockact.units.wrap.transaction import NotStarted

if TYPE_CHECKING:
    from pathlib import Path

# The journal lags behind: what the program said is there from the fourth look on.
JOURNAL = """#!/bin/sh
echo "$@" >> {0}/asked
test "$(wc -l < {0}/asked)" -lt 4 || echo "no module named app"
"""


@pytest.fixture
def asked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file with a line for each call of journalctl; systemctl fails."""
    texts = {"journalctl": JOURNAL.format(folder), "systemctl": "#!/bin/sh\nexit 1\n"}
    for name, text in texts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder / "asked"


def test_nothing_is_missed_at_the_beginning(asked: Path) -> None:
    Manager().journal("web.service", 1700000000.9)
    assert " --since=@1700000000 " in asked.read_text()


def test_what_is_not_there_yet_is_waited_for(asked: Path) -> None:
    with pytest.raises(NotStarted) as caught:
        Service(Manager(), ServiceFiles("web.service", *("/nowhere",) * 4)).restart()
    assert caught.value.lines == ("no module named app",)
    assert len(asked.read_text().splitlines()) == 5
