"""Requests over HTTP/2 are counted, each stream for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.process.adoption.test_shim_wire import Program, Supervisor, run, supervisor
from tests.process.counting.test_counting_servers import Pages
from tests.process.gates.gated import listener

pytest.importorskip("h2")
from tests.process.drain.test_shim_drain_h2 import client, name, server

if TYPE_CHECKING:
    from tests.support.h2_client import Client

__all__ = ["client", "listener", "name", "run", "server", "supervisor"]  # fixtures


@pytest.mark.parametrize("name", ["hypercorn", "daphne-tls", "uvicorn-zttp"], indirect=True)
def test_streams(server: Program, supervisor: Supervisor, client: Client) -> None:
    client.ask()
    pages = Pages(server, supervisor)
    one, other = client.begin(), client.begin()
    client.finish(other)
    client.ask()
    client.finish(one)
    pages.wait_for({2: 3})
    pages.close()
