"""A WSGI application, for every server that speaks WSGI."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.servers.apps import answers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from wsgiref.types import StartResponse, WSGIEnvironment

VERSION = answers.release()


def app(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    """The short answer, those after 2 and 10 s, the one over 5 s, and the one to an upload."""
    headers = [("Content-Type", "text/plain")]
    if environ["PATH_INFO"] == "/stream":
        # No length: the server chunks it, or ends it by closing the connection.
        start_response("200 OK", headers)
        return stream()
    if environ["PATH_INFO"] == "/slow":
        time.sleep(answers.SLOW_SECONDS)
    if environ["PATH_INFO"] == "/long":
        time.sleep(answers.LONG_SECONDS)
    body = answers.fast(VERSION)
    if environ["PATH_INFO"] == "/upload":
        body = answers.upload(VERSION, received(environ))
    start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
    return [body]


def received(environ: WSGIEnvironment) -> int:
    """Read the request's body; gives its length."""
    left = int(environ["CONTENT_LENGTH"])
    length = 0
    while left and (data := environ["wsgi.input"].read(min(left, 1 << 16))):
        left -= len(data)
        length += len(data)
    return length


def stream() -> Iterator[bytes]:
    """The lines of the streamed answer, with their pauses."""
    for number in range(1, answers.LINES + 1):
        yield answers.line(VERSION, number)
        time.sleep(answers.LINE_PAUSE)
