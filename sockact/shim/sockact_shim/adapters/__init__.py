"""Adapters: each makes one kind of server answer with `Connection: close` while `closing()`.

An adapter patches classes, once, so it covers the connections that exist already; the patched
methods ask `closing()` for each response, so that an order of the other kind undoes the first. It
finds its server in `sys.modules` and imports nothing.
"""

from __future__ import annotations

import sys

# The adapter of each server, and the modules of which it patches those that are loaded.
_SERVERS: dict[str, tuple[str, ...]] = {
    "uvicorn": (
        "uvicorn.protocols.http.h11_impl",
        "uvicorn.protocols.http.httptools_impl",
        "uvicorn.protocols.http.zttp_impl",
    ),
    "uvicorn_h2": ("uvicorn.protocols.http.zttp_h2_impl",),
    "gunicorn": ("gunicorn.http.wsgi",),
    "gunicorn_asgi": ("gunicorn.asgi.protocol",),
    "hypercorn": ("hypercorn.protocol.h11",),
    "aiohttp": ("aiohttp.web_response",),
    "tornado": ("tornado.http1connection",),
    "sanic": ("sanic.http.http1", "sanic.http"),
    "twisted": ("twisted.web.http",),
    "waitress": ("waitress.task",),
    "cheroot": ("cheroot.server",),
    "gevent": ("gevent.pywsgi",),
    "django": ("django.core.servers.basehttp",),
    "http_server": ("http.server",),
    "h2": ("h2.connection",),
}

_closing = False
_taken: set[str] = set()


def closing() -> bool:
    """Is the next response of each connection its last?"""
    return _closing


def drain() -> list[str]:
    """Patch the servers that are loaded, and have them close from now on.

    Returns the adapters' names; one that does not fit as `NAME!VERSION`, the version of the server
    as far as it is known.
    """
    global _closing
    names = []
    for name, modules in _SERVERS.items():
        for module in (found for wanted in modules for found in _loaded(wanted)):
            outcome = _take(name, module)
            if outcome not in names:
                names.append(outcome)
    _closing = True
    return names


def serve() -> None:
    """Have the servers keep their connections again."""
    global _closing
    _closing = False


def _loaded(name: str) -> list[str]:
    """The keys of a module in sys.modules: a program run by `python -m` is only `__main__`."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    as_main = ["__main__"] if getattr(spec, "name", None) == name else []
    return [*as_main, name] if name in sys.modules else as_main


def _take(name: str, module: str) -> str:
    if module in _taken:
        return name
    try:
        adapter = __import__(__name__ + "." + name, fromlist=["close_after_response"])
        adapter.close_after_response(sys.modules[module])
    except Exception:
        return f"{name}!{_version(module)}"
    _taken.add(module)
    return name


def _version(module: str) -> str:
    """Of the distribution that has the name of its package; empty when there is none."""
    try:
        from importlib.metadata import version

        return "".join(version(module.partition(".")[0]).split())
    except Exception:
        return ""
