"""Adapters: each makes one kind of server answer with `Connection: close` from now on.

An adapter patches classes, so it covers the connections that exist already. It finds its server in
`sys.modules` and imports nothing.
"""

from __future__ import annotations

import sys

# The adapter of each server, and the modules of which it patches those that are loaded.
_SERVERS: dict[str, tuple[str, ...]] = {
    "uvicorn": ("uvicorn.protocols.http.h11_impl", "uvicorn.protocols.http.httptools_impl"),
    "gunicorn": ("gunicorn.http.wsgi",),
    "aiohttp": ("aiohttp.web_response",),
    "waitress": ("waitress.task",),
    "django": ("django.core.servers.basehttp",),
    "http_server": ("http.server",),
}

_taken: set[str] = set()


def drain() -> list[str]:
    """Patch the servers that are loaded. Returns their names, those that failed with a `!`."""
    names = []
    for name, modules in _SERVERS.items():
        for module in (found for wanted in modules for found in _loaded(wanted)):
            outcome = _take(name, module)
            if outcome not in names:
                names.append(outcome)
    return names


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
        return name + "!"
    _taken.add(module)
    return name
