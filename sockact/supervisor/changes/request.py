"""A request for a reload, until it is answered."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from sockact.core.canary.progress import Plan
    from sockact.core.json_data import Json
    from sockact.core.settings import Settings

    # (Handover of docs/control.md, whether its successor serves)
    Done = Callable[[Json, bool], None]
    # (why no handover began)
    Refuse = Callable[[str], None]
    # Begins a reload; what it returns is for a caller that leaves.
    Reload = Callable[["ReloadRequest"], Callable[[], None]]

    class Handovers(Protocol):
        """Begins the reloads of the service."""

        def is_stopping(self) -> bool:
            """Whether there will be no more reloads."""

        def is_idle(self) -> bool:
            """Whether no generation is starting or on trial."""

        def settings(self) -> Settings:
            """Return the settings in force."""

        def use(self, settings: Settings) -> None:
            """Use these settings from now on, and for the next generation."""

        def lanes_missing(self) -> str:
            """Return why there are no lanes, which a canary needs; "" if there are."""

        def failures(self) -> str:
            """Return why a reload must be forced, or ""."""

        def begin(self, requests: list[ReloadRequest]) -> None:
            """Begin one reload for all requests."""


class ReloadRequest:
    """A caller's request. Exactly one of `done` and `refuse` is called, once.

    `cause` is that of a HandoverRecord (docs/control.md). With `exec_reload`, the caller is
    systemd's ExecReload=, so systemd already shows the unit as reloading.
    """

    def __init__(
        self,
        cause: str,
        done: Done,
        refuse: Refuse,
        wait_drained: bool = False,
        exec_reload: bool = False,
        plan: Plan | None = None,
        background: bool | None = None,
    ) -> None:
        self.cause = cause
        self.done = done
        self.refuse = refuse
        self.wait_drained = wait_drained
        self.exec_reload = exec_reload
        self.plan = plan
        """The steps in which the successor gets clients, if not those of the settings."""
        self.background = background
        """Whether to answer as soon as a canary gets clients; None: as in the settings."""
        self._leave: Callable[[], None] = lambda: None

    def began(self, leave: Callable[[], None]) -> None:
        """Take note that the handover has begun; `leave` removes the caller from those waiting."""
        self._leave = leave

    def leave(self) -> None:
        """Answer nobody: the caller is gone. The reload itself continues."""
        self.done = lambda _handover, _committed: None
        self.refuse = lambda _reason: None
        self._leave()
