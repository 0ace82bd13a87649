"""Closes the WebSockets of this process one after the other, with status 1012 or 1001.

Only those of asyncio's servers: each is closed in its own event loop, unless it has ended by then.
"""

from __future__ import annotations

import sys

from .. import upgraded
from .moments import moments, since

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

_CODE = 1012
# What sanic and websockets send when they shut down; with any other status, handlers of websockets
# end with an error.
_GOING_AWAY = 1001
_MOST = 100_000
_ANSWER_WITHIN = 10.0


def _close_sansio(one: Any) -> None:
    if one.handshake_complete:
        one.conn.send_close(_CODE)
        _wait_for_answer(one, b"".join(one.conn.data_to_send()))


def _close_wsproto(one: Any) -> None:
    if one.handshake_complete:
        event = sys.modules["wsproto"].events.CloseConnection
        _wait_for_answer(one, one.conn.send(event(code=_CODE)))


def _wait_for_answer(one: Any, frame: bytes) -> None:
    """uvicorn has no method for this: its `shutdown` closes at once, and what the client has on its
    way resets the connection. The application is told when the client answers.
    """
    if hasattr(one, "stop_keepalive"):
        one.stop_keepalive()
    one.transport.write(frame)
    one.loop.call_later(_ANSWER_WITHIN, one.transport.close)


def _close_server(one: Any) -> None:
    if not one.mask_outgoing:  # tornado's client uses this class, too
        one.close(_CODE)


def _close_sanic(one: Any) -> Any:
    return one.close(_GOING_AWAY)


def _close_library(one: Any) -> Any:
    return one.close(_GOING_AWAY) if one.state.name == "OPEN" else None


def _close_legacy(one: Any) -> Any:
    return one.close(_CODE) if one.state.name == "OPEN" else None


def _close_named(one: Any) -> Any:
    return one.close(code=_CODE)


def _send_close(one: Any) -> Any:
    return one._send({"type": "websocket.close", "code": _CODE}) if one.accepted else None


def _send_event(one: Any) -> Any:
    # Not `app_send`, after which hypercorn takes what the application sends for an error.
    event = sys.modules["hypercorn.protocol.ws_stream"].CloseConnection
    return one._send_wsproto_event(event(code=_CODE))


# Module, class → what closes it, and the attribute that leads to its event loop.
_KINDS: dict[tuple[str, str], tuple[Callable[[Any], Any], str]] = {
    ("uvicorn.protocols.websockets.websockets_impl", "WebSocketProtocol"): (
        _close_legacy,
        "loop",
    ),
    ("uvicorn.protocols.websockets.websockets_sansio_impl", "WebSocketsSansIOProtocol"): (
        _close_sansio,
        "loop",
    ),
    ("uvicorn.protocols.websockets.wsproto_impl", "WSProtocol"): (_close_wsproto, "loop"),
    ("gunicorn.asgi.websocket", "WebSocketProtocol"): (_send_close, ""),
    ("aiohttp.web_ws", "WebSocketResponse"): (_close_named, "_loop"),
    ("hypercorn.protocol.ws_stream", "WSStream"): (_send_event, ""),
    ("tornado.websocket", "WebSocketProtocol"): (_close_server, "stream.io_loop.asyncio_loop"),
    ("sanic.server.websockets.impl", "WebsocketImplProtocol"): (_close_sanic, "loop"),
    ("websockets.asyncio.server", "ServerConnection"): (_close_library, "loop"),
    ("websockets.legacy.server", "WebSocketServerProtocol"): (_close_library, "loop"),
}

# The drain for which this was done.
_done = -1.0
# Until they have ended: a loop keeps no reference to its tasks.
_tasks: set[Any] = set()


def close(seconds: float, draining: Callable[[], bool]) -> int:
    """Close the open WebSockets within this time, as long as the process is `draining`.

    Returns how many there are, the first time in each drain; then it does nothing, and returns 0.
    """
    global _done
    drain = since()
    if "asyncio" not in sys.modules or "contextvars" not in sys.modules or drain == _done:
        return 0
    _done = drain
    found = _found()

    def same() -> bool:
        return draining() and since() == drain

    for (loop, end), moment in zip(found, moments(len(found))):
        # Not in the context of whatever has been interrupted.
        context = sys.modules["contextvars"].Context()
        try:
            loop.call_soon_threadsafe(_later, loop, moment * seconds, end, same, context=context)
        except RuntimeError:  # it is closed
            continue
    return len(found)


def _found() -> list[tuple[Any, Callable[[], Any]]]:
    """The event loop of each open WebSocket, and what closes it."""
    kinds = upgraded._loaded()
    found: list[tuple[Any, Callable[[], Any]]] = []
    if not kinds:
        return found
    import gc

    for one in gc.get_objects():
        if type(one) in kinds and len(found) < _MOST and upgraded._inode(one, kinds[type(one)]):
            way = _way(type(one))
            loop = _loop(one, way[1]) if way else None
            if way and loop is not None:
                found.append((loop, _bound(way[0], one)))
    return found


def _way(kind: type) -> tuple[Callable[[Any], Any], str] | None:
    """What is known of its class, or of the nearest one that it derives from."""
    for base in kind.__mro__:
        if (base.__module__, base.__name__) in _KINDS:
            return _KINDS[base.__module__, base.__name__]
    return None


def _loop(one: Any, path: str) -> Any:
    try:
        if not path:
            return sys.modules["asyncio"].get_running_loop()  # a signal interrupts the main thread
        for name in path.split("."):
            one = getattr(one, name)
    except (AttributeError, RuntimeError):
        return None
    return one


def _bound(end: Callable[[Any], Any], one: Any) -> Callable[[], Any]:
    return lambda: end(one)


def _later(loop: Any, delay: float, end: Callable[[], Any], draining: Callable[[], bool]) -> None:
    loop.call_later(delay, _now, loop, end, draining)


def _now(loop: Any, end: Callable[[], Any], draining: Callable[[], bool]) -> None:
    if not draining():
        return
    try:
        ended = end()
    except Exception:
        return
    if ended is not None:
        task = loop.create_task(_quietly(ended))
        _tasks.add(task)
        task.add_done_callback(_tasks.discard)


async def _quietly(ended: Any) -> None:
    try:
        await ended
    except Exception:
        return
