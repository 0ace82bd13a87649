"""What is asked of the journal; the commands are stand-ins that write down how they are called."""

from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from sockact.core.errors import OperatorError
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
    Manager().journal("web.service", 1700000000.9, 12)
    assert " --since=@1700000000 " in asked.read_text()


def test_what_is_not_there_yet_is_waited_for(asked: Path) -> None:
    with pytest.raises(NotStarted) as caught:
        Service(Manager(), ServiceFiles("web.service", *("/nowhere",) * 4)).restart()
    assert caught.value.lines == ("no module named app",)
    assert len(asked.read_text().splitlines()) == 5


def test_only_the_last_lines_are_asked_for(asked: Path) -> None:
    with pytest.raises(NotStarted):
        Service(Manager(), ServiceFiles("web.service", *("/nowhere",) * 4)).restart()
    assert all(" --lines=12 " in line for line in asked.read_text().splitlines())


@pytest.mark.parametrize(("name", "last"), [("journalctl", "the end"), ("systemctl", "")])
def test_an_output_without_end_is_not_kept(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, last: str
) -> None:
    (folder / name).write_text("#!/bin/sh\nhead -c 40000000 /dev/zero\necho the end\n")
    (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    tracemalloc.start()
    try:
        if last:
            assert Manager().journal("web.service", 0, 12).endswith(f"{last}\n")
        else:
            with pytest.raises(OperatorError, match="printed 38 MiB") as caught:
                Manager().show("web.service")
            assert "\n" not in str(caught.value)
        # The bytes that are kept, and their text.
        assert tracemalloc.get_traced_memory()[1] < 39_000_000
    finally:
        tracemalloc.stop()


def test_a_command_that_says_nothing_is_ended(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "systemctl").write_text("#!/bin/sh\nexec sleep 600\n")
    (folder / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    with pytest.raises(OperatorError, match=r"no answer within 0\.1 s"):
        Manager(timeout=0.1).show("web.service")
