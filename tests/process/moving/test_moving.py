"""Clients keep their connection through reloads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.process.moving import servers
from tests.process.moving.visitors import Visitors, ask
from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService

COUNT = 30
RELOADS = 3
ON = ("--move-connections", "on")


@pytest.mark.parametrize("name", servers.SERVERS)
def test_no_client_notices_reloads(name: str, start: StartService, folder: Path) -> None:
    servers.prepare(name, folder)
    port = wait.free_port()
    service = start(
        servers.command(name, port),
        listen=(f"127.0.0.1:{port}",),
        options=(*ON, "--directory", str(folder)),
    )
    with Visitors(("127.0.0.1", port), COUNT, ask) as guests:
        guests.wait_for(2)
        for _ in range(RELOADS):
            assert service.reload().code == 0, service.stderr
            service.wait_drained()
            guests.wait_for(2)
    assert service.stderr.count(f"{COUNT} connections moved to generation") == RELOADS
