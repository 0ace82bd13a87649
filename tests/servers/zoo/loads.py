"""Loads that servers can bear without a client timing out."""

from __future__ import annotations

from bench.load import Kind, Load

KEEP_ALIVE = (
    Load(Kind.KEEP_ALIVE, 1),
    Load(Kind.KEEP_ALIVE, 1, pause=0.005),
    Load(Kind.KEEP_ALIVE, 1, pause=0.05),
)
OTHERS = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.SLOW, 2),
    Load(Kind.STREAM, 2),
    Load(Kind.IDLE_FIRST, 2),
    Load(Kind.UPLOAD, 2),
)
CONCURRENT = (*OTHERS, *KEEP_ALIVE)
# A process for each request: fewer long ones than processes.
PROCESSES = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.SLOW, 2),
    Load(Kind.STREAM, 2),
    Load(Kind.IDLE_FIRST, 1),
    Load(Kind.UPLOAD, 1),
    *KEEP_ALIVE,
)
# One request at a time: a short one waits for a streamed one, for another generation's too, for
# the upload, and for the client that does not say anything yet: 11 s when they come in a row, and
# hence one client of each. One that keeps its connection finds it closed after each answer.
SEQUENTIAL = (
    Load(Kind.NEW, 2, pause=0.02, timeout=45.0),
    Load(Kind.SLOW, 1, pause=0.1, timeout=45.0),
    Load(Kind.STREAM, 1, pause=0.1, timeout=45.0),
    Load(Kind.IDLE_FIRST, 1, pause=0.1, timeout=45.0),
    Load(Kind.UPLOAD, 1, pause=0.1, timeout=45.0),
    Load(Kind.KEEP_ALIVE, 1, pause=0.05, timeout=45.0),
)
# Stock http.server knows files only: the answer is slow because its client is.
FILES = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.READ_SLOWLY, 2),
    Load(Kind.IDLE_FIRST, 2),
    *KEEP_ALIVE,
)
CGI = (
    Load(Kind.NEW, 4, pause=0.005),
    Load(Kind.SLOW, 1, path="/cgi-bin/slow"),
    Load(Kind.STREAM, 2, path="/cgi-bin/stream"),
    Load(Kind.IDLE_FIRST, 2),
    Load(Kind.UPLOAD, 1, path="/cgi-bin/upload"),
    *KEEP_ALIVE,
)
LINES = (
    Load(Kind.LINE, 4, pause=0.005),
    Load(Kind.LINE_SLOW, 2),
    Load(Kind.LINE_STREAM, 2),
)
DATAGRAMS = (Load(Kind.DATAGRAM, 4, pause=0.005),)
