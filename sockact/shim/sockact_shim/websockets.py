"""The WebSockets of this process, which the supervisor cannot tell from idle HTTP connections.

They are found among all objects, because a WebSocket may be older than the first order. Only
modules that the program has loaded are asked.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MOST = 300  # one is enough to hold a drain, and the answer is one packet
_SOCKET = 0o140000
_FORMAT = 0o170000

# Module, class of a server's WebSocket, and the attributes that lead to its transport or socket.
_KINDS = (
    ("uvicorn.protocols.websockets.websockets_impl", "WebSocketProtocol", "transport"),
    (
        "uvicorn.protocols.websockets.websockets_sansio_impl",
        "WebSocketsSansIOProtocol",
        "transport",
    ),
    ("uvicorn.protocols.websockets.wsproto_impl", "WSProtocol", "transport"),
    ("hypercorn.protocol.ws_stream", "WSStream", "send.__self__.send.__self__.writer"),
    ("autobahn.websocket.protocol", "WebSocketServerProtocol", "transport"),
    ("gunicorn.asgi.websocket", "WebSocketProtocol", "transport"),
    ("aiohttp.web_ws", "WebSocketResponse", "_req.transport"),
    ("tornado.websocket", "WebSocketProtocol", "stream.socket"),
    ("sanic.server.websockets.impl", "WebsocketImplProtocol", "io_proto.transport"),
    ("websockets.asyncio.server", "ServerConnection", "transport"),
    ("websockets.legacy.server", "WebSocketServerProtocol", "transport"),
    ("websockets.sync.server", "ServerConnection", "socket"),
    ("simple_websocket.ws", "Server", "sock"),
    ("geventwebsocket.websocket", "WebSocket", "stream.handler.socket"),
)


def inodes() -> list[int]:
    """The inodes of the sockets of open WebSockets, or of some if there are many."""
    kinds = _loaded()
    if not kinds:
        return []
    import gc

    found: set[int] = set()
    for one in gc.get_objects():
        if type(one) in kinds:
            inode = _inode(one, kinds[type(one)])
            if inode:
                found.add(inode)
            if len(found) >= _MOST:
                break
    return list(found)


def _loaded() -> dict[type, str]:
    """The classes of WebSockets that are loaded, with their subclasses."""
    found: dict[type, str] = {}
    for module, name, path in _KINDS:
        kind = getattr(sys.modules.get(module), name, None)
        if isinstance(kind, type):
            _add(kind, path, found)
    return found


def _add(kind: type, path: str, found: dict[type, str]) -> None:
    if kind not in found:
        found[kind] = path
        heirs: list[type] = type.__subclasses__(kind)
        for heir in heirs:
            _add(heir, path, found)


def _inode(one: Any, path: str) -> int:
    """The inode of its socket; 0 if it is closed, or not what it is expected to be."""
    try:
        for name in path.split("."):
            one = getattr(one, name)
        if hasattr(one, "get_extra_info"):  # asyncio
            one = one.get_extra_info("socket")
        elif hasattr(one, "getHandle"):  # Twisted
            one = one.getHandle()
        status = os.fstat(one.fileno())
    except Exception:
        return 0
    return status.st_ino if status.st_mode & _FORMAT == _SOCKET else 0
