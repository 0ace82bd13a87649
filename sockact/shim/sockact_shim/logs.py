"""The log files that known logging libraries of the program have open.

Only libraries that the program has loaded are examined, without calling anything that takes a lock.
Each file comes with the path that it was opened with, wherever the file is now.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator

_NESTED = 3  # handlers that pass on to handlers that pass on


class LogFile:
    """A file object, the path it was opened with, and the lock to hold while it is replaced."""

    def __init__(self, path: str, stream: Any, lock: Any = None) -> None:
        self.path = path
        self.stream = stream
        self.lock = lock


def find(errors: list[str]) -> list[LogFile]:
    """All log files. A library with unknown internals adds a line to `errors`."""
    found: list[LogFile] = []
    for name, files in _LIBRARIES.items():
        module = sys.modules.get(name)
        if module is None:
            continue
        try:
            found += files(module)
        except Exception as error:
            errors.append(f"{name}: {type(error).__name__}: {error}")
    return found


def _logging(module: Any) -> Iterator[LogFile]:
    for handler in _handlers(module):
        stream = getattr(handler, "stream", None)
        if stream is None:
            continue  # closed, or not opened yet
        path = getattr(handler, "baseFilename", None)
        lock = getattr(handler, "lock", None)
        if isinstance(handler, module.FileHandler) and isinstance(path, str):
            yield LogFile(path, stream, lock)
        else:
            yield from _named(stream, lock)


def _handlers(module: Any) -> list[Any]:
    """All handlers. dictConfig() forgets the earlier ones, but loggers may still use them."""
    found = [reference() for reference in list(module._handlerList)]
    loggers = [module.root, *list(module.root.manager.loggerDict.values())]
    for logger in loggers:
        found += list(getattr(logger, "handlers", ()))
    level = found
    for _ in range(_NESTED):
        level = [inner for handler in level for inner in _inside(handler)]
        found += level
    unique = {id(handler): handler for handler in found if isinstance(handler, module.Handler)}
    return list(unique.values())


def _inside(handler: Any) -> list[Any]:
    """The handlers that a MemoryHandler, or a QueueHandler's listener, passes on to."""
    listener = getattr(handler, "listener", None)
    return [getattr(handler, "target", None), *getattr(listener, "handlers", ())]


def _loguru(module: Any) -> Iterator[LogFile]:
    for handler in list(module.logger._core.handlers.values()):
        sink = handler._sink
        file = getattr(sink, "_file", None)
        if file is not None:
            yield LogFile(sink._file_path, file)
        else:
            yield from _named(getattr(sink, "_stream", None))


def _structlog(module: Any) -> Iterator[LogFile]:
    factory = module.get_config()["logger_factory"]
    yield from _named(getattr(factory, "_file", None))


def _twisted(module: Any) -> Iterator[LogFile]:
    for observer in list(module.globalLogPublisher._observers):
        old = getattr(getattr(observer, "legacyObserver", None), "__self__", None)
        written = getattr(getattr(old, "write", None), "__self__", None)
        file = getattr(observer, "_outFile", written)
        path = getattr(file, "path", None)
        inner = getattr(file, "_file", None)  # of a LogFile
        if isinstance(path, str) and inner is not None:
            yield LogFile(os.path.abspath(path), inner)
        else:
            yield from _named(file)


def _standard(module: Any) -> Iterator[LogFile]:
    """Standard output and error, which the program may have replaced by files."""
    yield from _named(module.stdout)
    yield from _named(module.stderr)


def _named(stream: Any, lock: Any = None) -> Iterator[LogFile]:
    """A file object with a path as its name: the standard streams have other names, or a number."""
    name = getattr(stream, "name", None)
    if isinstance(name, str) and not name.startswith("<"):
        yield LogFile(name, stream, lock)


_LIBRARIES: dict[str, Callable[[Any], Iterator[LogFile]]] = {
    "logging": _logging,
    "loguru": _loguru,
    "structlog": _structlog,
    "twisted.logger": _twisted,
    "sys": _standard,
}
