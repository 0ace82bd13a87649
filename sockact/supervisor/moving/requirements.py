"""What has to be there for connections to move, as far as that is known before the start."""

from __future__ import annotations

from sockact.core.settings import Adopt
from sockact.kernel import pidfd
from sockact.kernel.helper import may_look_at_less


def missing(adopt: Adopt) -> str:
    """Return why connections cannot move; "" if nothing is known. `adopt` is the way of adopting;
    never AUTO.
    """
    if adopt is not Adopt.SECCOMP:
        return f"it needs --adopt seccomp, and this service uses {adopt.value}"
    if reason := pidfd.unavailable():
        return f"pidfd_open is refused ({reason})"
    if may_look_at_less():
        return (
            "the kernel does not permit tracing the program (kernel.yama.ptrace_scope); add "
            "CAP_SYS_PTRACE, or set it to 0"
        )
    return ""
