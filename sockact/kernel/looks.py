"""Looks at what belongs to other processes, made by a helper process that can be given up:
docs/looks.md.

A program can map a page of a FUSE file system that never arrives, and pass it to bind(2) as an
address, or to epoll_wait(2), which then holds the lock of the epoll instance. A process that asks
the kernel about such a program blocks, too, and in some cases not even SIGKILL ends it. So such
functions are marked with `apart`. After `begin` they run in a helper, whose only descriptor is a
socket; before that, and in the helper itself, they run directly.

A helper that sleeps instead of answering is given up, and looks at its group (a generation, say)
are refused for a while, after each further time for longer. Not thread-safe.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import marshal
import os

from sockact.kernel.helper import OWN, GivenUp, Helper, may_look_at_less

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator
    from typing import Any, ParamSpec, TypeVar

    P = ParamSpec("P")
    R = TypeVar("R")

_ATTEMPTS = 2
_REASON = "a process keeps the kernel from answering"
_NO_HELPER = (
    "no helper process ({}); looking at the program without one, which then can stop this "
    "supervisor; raise TasksMax= if that is the limit"
)
_KILLED = "the helper process of sockact was killed twice"
_FOR_NOW = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)


class Unavailable(OSError):
    """The kernel cannot tell at this moment: no descriptors or memory left, or see Blocked."""


class Blocked(Unavailable):
    """A process keeps the kernel from answering."""

    def __str__(self) -> str:
        return str(self.strerror)


def as_unavailable(error: OSError) -> OSError:
    """The error, as Unavailable if it is temporary."""
    if error.errno in _FOR_NOW:
        return Unavailable(error.errno, error.strerror, error.filename)
    return error


def is_for_want(error: OSError) -> bool:
    """Whether there were no descriptors, memory or processes left."""
    return error.errno in _FOR_NOW and not isinstance(error, Blocked)


_ERRORS: dict[str, type[OSError]] = {"Unavailable": Unavailable}
_FUNCTIONS: dict[str, Callable[..., object]] = {}


def error(kind: type[OSError]) -> type[OSError]:
    """Mark an exception that functions of `apart` raise."""
    _ERRORS[kind.__name__] = kind
    return kind


def apart(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a function of a module, to run it in the helper.

    Its arguments and its result have to be plain: numbers, texts, bytes, tuples, lists, sets, dicts
    and None. The first argument is the process that it looks at, or has such processes.
    """
    return _marked(function, None)


def apart_for(group: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """As `apart`, for a function that looks at no single process: the group that is refused."""
    return lambda function: _marked(function, group)


def _marked(function: Callable[P, R], group: str | None) -> Callable[P, R]:
    name = f"{function.__module__}.{function.__name__}"
    _FUNCTIONS[name] = function

    @functools.wraps(function)
    def look(*arguments: P.args, **named: P.kwargs) -> R:
        if not is_begun():
            return function(*arguments, **named)
        about = _first_process(arguments) if group is None else group
        found: R = _LOOKS.look(about, name, arguments, named)
        return found

    return look


def in_fork(
    about: int | str,
    function: Callable[P, R],
    keep: Collection[int],
    above: int,
    *arguments: P.args,
    **named: P.kwargs,
) -> R:
    """Run a function of `apart` in a new process that has the descriptors `keep`, but no others.

    It may replace all descriptors below `above`. `about` is the process that it looks at, or the
    group. Raises Unavailable if there can be no new process.
    """
    name = f"{function.__module__}.{function.__name__}"
    found: R = _LOOKS.look(about, name, arguments, named, keep, above)
    return found


def in_fork_or_here(
    about: int | str,
    function: Callable[P, R],
    keep: Collection[int],
    *arguments: P.args,
    **named: P.kwargs,
) -> R:
    """As `in_fork`; in this process if there can be neither a new one nor the helper (`begin`)."""
    name = f"{function.__module__}.{function.__name__}"
    found: R = _LOOKS.look(about, name, arguments, named, keep, or_here=True)
    return found


def is_begun() -> bool:
    """Whether functions run in the helper."""
    return _LOOKS.owner == os.getpid()


def begin(group_of: Callable[[int], Hashable], say: Callable[[Hashable, str], None]) -> None:
    """Let this process make looks by a helper, if that has the same rights.

    `group_of` returns the group of a process, `say` is called with a group that begins to be
    refused. The helper is made at the first look. If there can be none, this process looks itself,
    until there was one.
    """
    if may_look_at_less():
        return
    _LOOKS.end()
    _LOOKS.begin(group_of, say)


def end() -> None:
    """End the helpers; from now on functions run as they are."""
    _LOOKS.end()


def forget(group: Hashable) -> None:
    """Forget a group that is gone."""
    _LOOKS.forget(group)


def helpers() -> set[int]:
    """The pids of this process's helpers, which are its children as programs are."""
    return _LOOKS.pids()


@contextlib.contextmanager
def charged(group: Hashable) -> Iterator[None]:
    """Take all looks inside of this context for looks at the group."""
    before, _LOOKS.charged = _LOOKS.charged, _LOOKS.charged or group
    try:
        yield
    finally:
        _LOOKS.charged = before


class _Looks:
    """The helper of this process, and the groups that are refused."""

    def __init__(self) -> None:
        self.owner = 0
        self.charged: Hashable = None
        self._helper: Helper | None = None
        self._known: frozenset[str] = frozenset()
        """The functions that the helper has."""
        self._given_up = GivenUp()
        self._group_of: Callable[[int], Hashable] = lambda _pid: None
        self._say: Callable[[Hashable, str], None] = lambda _group, _text: None
        self._had_one = False  # A helper, or a fork, since `begin`.
        self._told = False
        """Whether it was said that no helper can be made."""

    def begin(
        self, group_of: Callable[[int], Hashable], say: Callable[[Hashable, str], None]
    ) -> None:
        self._group_of = group_of
        self._say = say
        self.owner = os.getpid()

    def end(self) -> None:
        self.owner = 0
        self._had_one = False
        self._drop_helper()
        self._given_up.close()

    def forget(self, group: Hashable) -> None:
        self._given_up.forget(group)

    def pids(self) -> set[int]:
        own = self._helper
        # One that has ended may have been reaped, and its pid be another's.
        return self._given_up.pids() | ({own.pid} if own and not own.has_ended() else set())

    def look(
        self,
        about: int | str,
        name: str,
        positional: tuple[object, ...],
        named: dict[str, object],
        keep: Collection[int] | None = None,
        above: int = 0,
        *,
        or_here: bool = False,
    ) -> Any:
        """Return what the function returns. Raises what it raises, and Unavailable."""
        pid = about if isinstance(about, int) else 0
        group = self.charged or self._group(about)
        if self._given_up.refuses(group):
            raise Blocked(errno.EBUSY, _REASON)
        request = _dumped((name, positional, named))
        for _ in range(_ATTEMPTS):
            try:
                helper = self._start(name) if keep is None else Helper(_answer, keep, above)
            except OSError as error:
                failure = error
                break
            self._had_one = True
            try:
                answer = helper.ask(request)
            except (ConnectionError, EOFError):
                # It was killed, by its user or for want of memory.
                failure = OSError(errno.EAGAIN, _KILLED)
                helper.close()
                self._helper = None if helper is self._helper else self._helper
                continue
            if answer is None:
                self._give_up(group, helper, pid)
                raise Blocked(errno.ETIMEDOUT, _REASON)
            if keep is not None:
                helper.end()
            return _result(answer)
        if (or_here or keep is None) and self._may_look_here(failure):
            return _FUNCTIONS[name](*positional, **named)
        raise Unavailable(failure.errno, failure.strerror)

    def _group(self, about: int | str) -> Hashable:
        """The group that a look is charged to. A process of no known group is one of its own."""
        if isinstance(about, str):
            return about
        if about == os.getpid():
            return OWN
        found = self._group_of(about)
        return f"process {about}" if about and found is None else found

    def _start(self, name: str) -> Helper:
        """Return the helper, which has the function. Raises OSError."""
        if self._helper is None or name not in self._known:
            new = Helper(_answer)
            self._drop_helper()
            self._helper = new
            self._known = frozenset(_FUNCTIONS)
        return self._helper

    def _may_look_here(self, error: OSError) -> bool:
        """Whether to do without a helper after this error, which is then reported.

        Not if there ever was one: a program could use up the processes, and then attack.
        """
        if self._had_one or error.errno in (errno.EMFILE, errno.ENFILE):
            return False
        if not self._told:
            self._told = True
            self._say(None, _NO_HELPER.format(error.strerror))
        return True

    def _drop_helper(self) -> None:
        if self._helper and not self._helper.has_ended():
            self._helper.end()
        elif self._helper:
            self._helper.close()
        self._helper = None

    def _give_up(self, group: Hashable, helper: Helper, pid: int) -> None:
        if helper is self._helper:
            self._helper = None
        if self._given_up.add(group, helper):
            self._say(group, _message(group, pid))


def _answer(request: bytes) -> bytes:
    name, positional, named = marshal.loads(request)
    answer: tuple[str, object]
    try:
        answer = ("", _FUNCTIONS[name](*positional, **named))
    except OSError as error:
        answer = (type(error).__name__, error.args[:2])
    except Exception as error:
        answer = (type(error).__name__, str(error))
    return _dumped(answer)


def _dumped(value: Any) -> bytes:
    return marshal.dumps(value)


def _result(answer: bytes) -> Any:
    """Return the result in an answer of a helper, or raise its exception."""
    failure, found = marshal.loads(answer)
    if not failure:
        return found
    if isinstance(found, tuple):
        raise _ERRORS.get(failure, OSError)(*found)
    raise (ValueError if failure == "ValueError" else RuntimeError)(f"{failure}: {found}")


def _message(group: Hashable, pid: int) -> str:
    if pid:
        return (
            f"process {pid} keeps the kernel from answering about it; its binds, connections and "
            "epoll instances are not looked at while that lasts; stop it"
        )
    what = group if isinstance(group, str) else "processes"
    return f"{_REASON} about the service's {what}; not looking at them while that lasts; stop it"


def _first_process(arguments: tuple[object, ...]) -> int:
    first = arguments[0] if arguments else 0
    if isinstance(first, list | tuple | set | dict):
        first = next(iter(first), 0)
    return first if isinstance(first, int) else 0


_LOOKS = _Looks()
