"""What counts as the beginning of a request."""

from __future__ import annotations

import pytest

from sockact.handover.delivery.request_line import LONGEST, begins_request


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST /a?b=c HTTP/1.0\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"M-SEARCH * HTTP/1.1\r\n",
    ],
)
def test_requests(data: bytes) -> None:
    assert begins_request(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1",  # The rest is on its way: the program waits for it as well as we do.
        b"GET /\r\n",
        b"GET  HTTP/1.1\r\n",
        b"get / HTTP/1.1\r\n",
        b"GET / HTTP/2.0\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
        b'{"rest": "of a body"}\n',
        b"\xff / HTTP/1.1\r\n",
        b"GET /" + b"a" * LONGEST + b" HTTP/1.1\r\n",
    ],
)
def test_everything_else(data: bytes) -> None:
    assert not begins_request(data)
