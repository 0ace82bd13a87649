"""A reload that somebody asked for, from the request to its answer."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sockact.core.json_data import Json

    # (the Handover of docs/control.md, whether its successor serves)
    Done = Callable[[Json, bool], None]
    # (why no handover has begun)
    Refuse = Callable[[str], None]
    # Begins a reload; what it returns is for a caller that leaves.
    Reload = Callable[["ReloadRequest"], Callable[[], None]]


class ReloadRequest:
    """One caller's reload. Exactly one of `done` and `refuse` is called, once.

    `cause` is that of a HandoverRecord (docs/control.md); with `exec_reload` the caller is
    systemd's ExecReload=, so systemd already shows the unit as reloading.
    """

    def __init__(
        self,
        cause: str,
        done: Done,
        refuse: Refuse,
        wait_drained: bool = False,
        exec_reload: bool = False,
    ) -> None:
        self.cause = cause
        self.done = done
        self.refuse = refuse
        self.wait_drained = wait_drained
        self.exec_reload = exec_reload
        self._leave: Callable[[], None] = lambda: None

    def began(self, leave: Callable[[], None]) -> None:
        """The handover is under way; `leave` removes the caller from those who wait for it."""
        self._leave = leave

    def leave(self) -> None:
        """The caller is gone: nobody is to be answered. The reload itself goes on."""
        self.done = lambda _handover, _committed: None
        self.refuse = lambda _reason: None
        self._leave()
