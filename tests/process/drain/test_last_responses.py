"""A client that never pauses leaves a draining generation with its next response."""

from __future__ import annotations

import http.client
import importlib.metadata
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

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
    """The Connection header of the response to one request."""
    client.request("GET", "/file")
    response = client.getresponse()
    assert response.read() == b"content"
    return response.getheader("Connection")


# Two processes whose server's class has another name than the adapter expects.
RENAMED = """
import cheroot.server, cheroot.wsgi, os, sys
cheroot.server.Request = cheroot.server.HTTPRequest
del cheroot.server.HTTPRequest
def answer(environ, start_response):
    start_response("200 OK", [("Content-Length", "7")])
    return [b"content"]
server = cheroot.wsgi.Server(("127.0.0.1", int(sys.argv[1])), answer)
server.reuse_port = True
os.fork()
server.start()
"""


def test_an_adapter_that_does_not_fit_is_told_once(start: StartService) -> None:
    pytest.importorskip("cheroot")
    port = wait.free_port()
    service = start([sys.executable, "-c", RENAMED, str(port)], listen=(f"127.0.0.1:{port}",))
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=wait.TIMEOUT)) as client:
        assert ask(client) is None
        for _ in range(2):
            assert service.reload("--wait-drained").code == 0
    version = importlib.metadata.version("cheroot")
    for generation in (1, 2):
        notice = (
            f"sockact: test: generation {generation}: the adapter for cheroot does not support "
            f"the installed version (cheroot {version}); its keep-alive connections end only when "
            "they are idle\n"
        )
        assert service.stderr.count(notice) == 1
