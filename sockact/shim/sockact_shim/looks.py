"""Lets the program find its own addresses free until it has bound them: docs/adopt.md.

Some programs look by connect() whether anybody serves at their address. While their generation is
starting, that is its predecessor, or the accept queue. `connect` and `connect_ex` of
`socket.socket` are wrapped as soon as the program imports `socket`, and restored at the first look
after the start.

`bind`, `listen` and `shutdown`, and with a Unix listener `os.unlink` and `os.symlink`, are wrapped
for good. While they wait for the supervisor, a signal makes them return EINTR (seccomp(2)), which
no program expects of them; a call of the shim is one.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from types import ModuleType
    from typing import Any, Callable

_NAMES = "connect", "connect_ex"
_NOTIFIED = "bind", "listen", "shutdown"
_NOTIFIED_OF_FILES = "unlink", "remove", "symlink"


def install(supervisor: str, addresses: str) -> None:
    """`addresses` are the ports and the names (in hexadecimal, after `unix:`) of the listeners."""
    looks = _Looks(supervisor, addresses.split())
    if "unix:" in addresses:
        for name in _NOTIFIED_OF_FILES:
            setattr(os, name, _Patient(getattr(os, name)))
    module = sys.modules.get("socket")
    if module is None:
        sys.meta_path.insert(0, _Import(looks))
    else:
        looks.begin(module)


class _Looks:
    def __init__(self, supervisor: str, addresses: list[str]) -> None:
        self._supervisor = supervisor
        self._ports = {int(word) for word in addresses if word.isdigit()}
        unix = [word[5:] for word in addresses if word.startswith("unix:")]
        self._names = {bytes.fromhex(name) for name in unix}
        self._over = False

    def begin(self, module: ModuleType) -> None:
        """Wrap the methods of the module `socket`."""
        self._class = module.socket
        self._wrappers = {name: self._wrapper(name) for name in _NAMES}
        for name, wrapper in self._wrappers.items():
            setattr(self._class, name, wrapper)
        for name in _NOTIFIED:
            setattr(self._class, name, _patient(getattr(self._class, name)))

    def _wrapper(self, name: str) -> Callable[..., Any]:
        plain = getattr(self._class, name)

        def connect(own: socket.socket, address: Any, /) -> Any:
            error = 0 if self._over else self._error(own, address)
            if not error:
                return plain(own, address)
            if name == "connect_ex":
                return error
            raise OSError(error, os.strerror(error))

        return _disguised(connect, plain)

    def _error(self, own: socket.socket, address: Any) -> int:
        """ECONNREFUSED if the connection is to a listener that is not bound yet, otherwise 0."""
        if not self._may_be_own(address):
            return 0
        from . import load

        try:
            error: int | None = load("adopt").look(own, address, self._supervisor)
        except Exception:
            return 0  # In a chroot, say.
        if error is None:
            self._end()
        return error or 0

    def _may_be_own(self, address: Any) -> bool:
        if isinstance(address, tuple):
            return len(address) > 1 and address[1] in self._ports
        if isinstance(address, str):
            address = address.encode("utf-8", "surrogateescape")
        return isinstance(address, bytes) and _base_name(address) in self._names

    def _end(self) -> None:
        """Leave all later calls alone."""
        self._over = True
        for name, wrapper in self._wrappers.items():
            # Another library may have wrapped the wrapper, which has no effect any more.
            if self._class.__dict__.get(name) is wrapper:
                delattr(self._class, name)


class _Patient:
    """A function of `os`, called again after EINTR.

    Not a function itself: pathlib keeps some in a class, up to Python 3.9, which would bind them.
    """

    def __init__(self, plain: Callable[..., Any]) -> None:
        self._plain = plain
        self.__name__, self.__qualname__ = plain.__name__, plain.__qualname__
        self.__doc__, self.__module__ = plain.__doc__, plain.__module__
        # shutil looks there for whether it can delete trees safely.
        if plain in os.supports_dir_fd:
            os.supports_dir_fd.add(self)

    def __call__(self, *args: Any, **options: Any) -> Any:
        while True:
            try:
                return self._plain(*args, **options)
            except InterruptedError:
                continue


def _patient(plain: Callable[..., Any]) -> Callable[..., Any]:
    def again(own: socket.socket, *args: Any) -> Any:
        while True:
            try:
                return plain(own, *args)
            except InterruptedError:  # The program's handlers have run by now.
                continue

    return _disguised(again, plain)


def _disguised(wrapper: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    wrapper.__name__, wrapper.__qualname__ = plain.__name__, plain.__qualname__
    wrapper.__doc__ = plain.__doc__
    return wrapper


def _base_name(name: bytes) -> bytes:
    return (name[1:] if name[:1] == b"\0" else name).rpartition(b"/")[2]


class _Import:
    """A finder that waits for the import of `socket`."""

    def __init__(self, looks: _Looks) -> None:
        self._looks = looks
        self._loader: Any = None

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find `socket` as the other finders do, and stand in for its loader."""
        if name != "socket":
            return None
        if self in sys.meta_path:
            sys.meta_path.remove(self)
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = find and find(name, path, target)
            if spec:
                if hasattr(spec.loader, "exec_module"):
                    self._loader, spec.loader = spec.loader, self
                return spec
        return None

    def create_module(self, spec: Any) -> Any:
        """Make the module as its own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        """Fill the module as its own loader does, then wrap the methods."""
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        try:
            self._looks.begin(module)
        except Exception:  # Without it the program may find its address in use, but it runs.
            return
