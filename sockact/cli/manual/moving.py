"""--move-connections of sockact-run(1) beyond `--help`, in reStructuredText."""

from __future__ import annotations

OPTION = """
`--move-connections` off, on
    on: a reload closes no connection on which a client speaks plain HTTP/1: the next generation
    answers the next request on it, and the client notices nothing. Works for programs in any
    language that wait for requests in epoll. Needs `--adopt seccomp`, and permission to trace the
    program for milliseconds (ptrace(2)). Not for services whose clients send a PROXY header, or log
    in once for all requests of a connection.
"""
