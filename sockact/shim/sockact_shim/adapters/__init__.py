"""Adapters: each makes one server send `Connection: close` with every response while `closing()`,
once the connection is `due` (`spreading.moments`), and counts its requests while there is a page to
count in (`counting.page`).

An adapter patches classes, once, so that existing connections are covered. The patched methods ask
for each response, so that `serve` undoes `drain`. An adapter finds its server in `sys.modules`, and
imports nothing.
"""

from __future__ import annotations

import sys

# Adapter → modules that it patches, those of them that are loaded.
_ADAPTERS: dict[str, tuple[str, ...]] = {
    "uvicorn": (
        "uvicorn.protocols.http.h11_impl",
        "uvicorn.protocols.http.httptools_impl",
        "uvicorn.protocols.http.zttp_impl",
    ),
    "http2.uvicorn_h2": ("uvicorn.protocols.http.zttp_h2_impl",),
    "gunicorn": ("gunicorn.http.wsgi",),
    "gunicorn_asgi": ("gunicorn.asgi.protocol",),
    "hypercorn": ("hypercorn.protocol.h11",),
    "aiohttp": ("aiohttp.web_response",),
    "tornado": ("tornado.http1connection",),
    "sanic": ("sanic.http",),
    "twisted": ("twisted.web.http",),
    "waitress": ("waitress.task",),
    "cheroot": ("cheroot.server",),
    "gevent": ("gevent.pywsgi",),
    "django": ("django.core.servers.basehttp",),
    "http_server": ("http.server",),
    "http2.h2": ("h2.connection",),
}

# Those that count requests → modules that they patch for it, as above.
_COUNTING: dict[str, tuple[str, ...]] = {
    "uvicorn": (*_ADAPTERS["uvicorn"], *_ADAPTERS["http2.uvicorn_h2"]),
    "gunicorn": (
        "gunicorn.http.wsgi",
        "gunicorn.workers.sync",
        "gunicorn.workers.gthread",
        "gunicorn.workers.base_async",
    ),
    "gunicorn_asgi": ("gunicorn.asgi.protocol",),
    "hypercorn": ("hypercorn.protocol.http_stream",),
    "aiohttp": ("aiohttp.web_protocol",),
    "tornado": ("tornado.http1connection",),
    "sanic": ("sanic.http",),
    "twisted": ("twisted.web.http",),
    "waitress": ("waitress.task",),
    "cheroot": ("cheroot.server",),
    "gevent": ("gevent.pywsgi",),
    "http_server": ("http.server", "werkzeug.serving", "wsgiref.handlers"),
}

_closing = False
# Modules that are patched, each with the function that did it.
_taken: set[tuple[str, str]] = set()


def closing() -> bool:
    """Whether the next response of each connection that is due is its last."""
    return _closing


def drain() -> list[str]:
    """Patch the servers that are loaded, and make them close connections from now on.

    Returns the names of the adapters. One that does not fit the server is `NAME!VERSION`, with the
    version of the server if it is known.
    """
    global _closing
    names = _patch(_ADAPTERS, "close_after_response")
    _closing = True
    return names


def serve() -> None:
    """Make the servers keep their connections again."""
    global _closing
    _closing = False


def count() -> list[str]:
    """Patch the servers that are loaded to count requests. Returns names as `drain` does."""
    return _patch(_COUNTING, "count_requests")


def _patch(adapters: dict[str, tuple[str, ...]], function: str) -> list[str]:
    names = []
    for adapter, modules in adapters.items():
        for module in (found for wanted in modules for found in _loaded(wanted)):
            outcome = _take(adapter, module, function)
            if outcome not in names:
                names.append(outcome)
    return names


def _loaded(name: str) -> list[str]:
    """The keys of a module in sys.modules, where a program of `python -m` is `__main__`."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    as_main = ["__main__"] if getattr(spec, "name", None) == name else []
    return [*as_main, name] if name in sys.modules else as_main


def _take(adapter: str, module: str, function: str) -> str:
    name = adapter.rpartition(".")[2]
    if (module, function) in _taken:
        return name
    try:
        found = __import__(__name__ + "." + adapter, fromlist=[function])
        getattr(found, function)(sys.modules[module])
    except Exception:
        return f"{name}!{_version(module)}"
    _taken.add((module, function))
    return name


def _version(module: str) -> str:
    """The version of the distribution that is named as the package; empty if there is none."""
    try:
        from importlib.metadata import version

        return "".join(version(module.partition(".")[0]).split())
    except Exception:
        return ""
