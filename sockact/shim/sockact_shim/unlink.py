"""Makes removing the socket file of a listener, or of a decoy, succeed without effect.

Servers remove the path that getsockname() returns, before they bind and when they end.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable

_spared: set[str] = set()


def spare(paths: Iterable[str]) -> None:
    """Make os.unlink and os.remove ignore these absolute paths."""
    if not _spared:
        os.unlink = _sparing(os.unlink)
        os.remove = _sparing(os.remove)
    _spared.update(paths)


def _sparing(plain: Callable[..., None]) -> Callable[..., None]:
    def unlink(path: Any, *args: Any, **options: Any) -> None:
        if options.get("dir_fd") is not None or not _is_spared(path):
            plain(path, *args, **options)

    # shutil checks this set for whether it can delete trees safely.
    os.supports_dir_fd.add(unlink)
    return disguised(unlink, plain)


def _is_spared(path: Any) -> bool:
    try:
        name = os.path.abspath(os.fsdecode(path))
    except (OSError, TypeError, ValueError):
        return False
    if name in _spared:
        return True
    directory, base = os.path.split(name)
    return any(
        os.path.basename(other) == base
        and os.path.realpath(os.path.dirname(other)) == os.path.realpath(directory)
        for other in _spared
    )


def disguised(wrapper: Callable[..., Any], plain: Callable[..., Any]) -> Callable[..., Any]:
    """The wrapper with the name and the docstring of the original."""
    wrapper.__name__ = plain.__name__
    wrapper.__qualname__ = plain.__qualname__
    wrapper.__doc__ = plain.__doc__
    return wrapper
