"""How pytest-xdist distributes the tests: which stay together on one worker, in which order.

Most tests of tests/process wait, so several of them run beside each other at little cost, each in
whatever worker is free. The others keep a CPU or two busy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from xdist.scheduler import LoadScopeScheduling

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest
    from xdist.remote import Producer

SINGLE = ("tests/process/", "tests/fuzz/")
# Their tests share processes.
TOGETHER = ("test_many_reloads.py", "test_reload_matrix.py")
# Their tests share a machine, or what was built.
HEAVY = ("tests/system/", "tests/packages/")


def module(nodeid: str) -> str:
    """The file of a test."""
    return nodeid.split("::", 1)[0]


def is_single(nodeid: str) -> bool:
    """Whether a test may run on any worker, apart from the other tests of its module."""
    return nodeid.startswith(SINGLE) and not module(nodeid).endswith(TOGETHER)


def mixed(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """The busy modules spread among the tests that wait, so that few of them run at a time; then
    all others, which are short.
    """
    single = [item for item in items if is_single(item.nodeid)]
    heavy: dict[str, list[pytest.Item]] = {}
    short = []
    for item in items:
        name = module(item.nodeid)
        if name.startswith(HEAVY) or name.endswith(TOGETHER):
            heavy.setdefault(name, []).append(item)
        elif not is_single(item.nodeid):
            short.append(item)
    # None of them is among the last: the others would have to wait for it.
    step = len(single) // (len(heavy) + 2)
    found = []
    for number, group in enumerate(heavy.values()):
        found += [*group, *single[number * step : (number + 1) * step]]
    return [*found, *single[len(heavy) * step :], *short]


class Sharing(LoadScopeScheduling):  # type: ignore[misc]
    """Gives the next test or module to each worker that has little left."""

    def __init__(self, config: pytest.Config, log: Producer) -> None:
        super().__init__(config, log)
        # By default the modules with the most tests come first.
        config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        """Tests with the same result run on one worker, one after the other."""
        return nodeid if is_single(nodeid) else module(nodeid)
