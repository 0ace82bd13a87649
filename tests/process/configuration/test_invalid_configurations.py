"""A running service with one invalid file after another.

$SOCKACT_INVALID_FILES says how many of them: each takes a child that reads it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import invalid, varlink
from tests.support.program import Hammer, Program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

FILES = int(os.environ.get("SOCKACT_INVALID_FILES", "25"))


def files(ending: str) -> list[bytes]:
    """Those with this ending, of all kinds."""
    kinds = invalid.KINDS
    found = (invalid.make(kinds[number % len(kinds)], number) for number in range(FILES))
    return [data for extension, data in found if extension == ending]


@pytest.mark.timeout(60 + 2 * FILES)
@pytest.mark.parametrize("ending", [".json", ".yaml", ".toml"])
def test_no_invalid_file_starts_a_reload(
    start: StartService, folder: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    """Each is refused with its place, while clients come and go."""
    program = Program(folder)
    said = {"command": program.command, "listen": [*program.listen]}
    config = folder / f"test{ending}"
    lines = "".join(f"{key} = {json.dumps(value)}\n" for key, value in said.items())
    config.write_text(lines if ending == ".toml" else json.dumps(said))
    service = start([], options=("--config", str(config)))
    before = service.status()
    began = time.monotonic()
    refused = []
    with Hammer(program.port) as clients:
        for data in files(ending):
            config.write_bytes(data)
            with pytest.raises(varlink.VarlinkError) as error:
                varlink.call(service.control, "Reload")
            assert error.value.name.endswith(".ConfigurationRefused")
            refused.append(error.value.parameters["reason"])
        clients.wait_for("1")
    seconds = time.monotonic() - began
    after = service.status()
    assert all(reason.startswith(f"{config}:") for reason in refused)
    assert clients.failures == []
    reloads = varlink.call(service.control, "History")["handovers"]
    assert reloads == []
    for status in (before, after):
        status["generations"] = [(one["number"], one["pid"]) for one in status["generations"]]
        del status["listeners"]
    assert after == before
    with capsys.disabled():
        sys.stdout.write(
            f"\n{ending}: {len(refused)} refused in {seconds:.0f} s, {len(reloads)} reloads, "
            f"clients: {clients.answers.total()} answered, {len(clients.failures)} failures; "
            f"generations and their pids: {after['generations']}\n"
        )
