"""A client that never pauses leaves a draining generation with its next response."""

from __future__ import annotations

import http.client
import sys
from typing import TYPE_CHECKING

from tests.support import wait

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService


def test_http_server_as_a_module(start: StartService, folder: Path) -> None:
    """`python -m http.server` is __main__ and not http.server."""
    port = wait.free_port()
    (folder / "file").write_text("content")
    service = start(
        [
            sys.executable,
            *("-m", "http.server", str(port), "--bind", "127.0.0.1"),
            *("--protocol", "HTTP/1.1", "--directory", str(folder)),
        ],
        listen=(f"127.0.0.1:{port}",),
    )
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=wait.TIMEOUT)
    assert ask(client) is None
    assert service.reload().code == 0
    wait.until(lambda: ask(client) == "close", "the last response on this connection")
    client.close()
    service.wait_drained()


def ask(client: http.client.HTTPConnection) -> str | None:
    """The Connection header of the answer to one request."""
    client.request("GET", "/file")
    response = client.getresponse()
    assert response.read() == b"content"
    return response.getheader("Connection")
