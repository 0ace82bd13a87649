"""The life of a service with sockact: wrapped, reloaded and unwrapped, all under load."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

from tests.support import wait
from tests.system.visitor import Notes, Question, Visitors

if TYPE_CHECKING:
    from tests.support.machine import Machine
    from tests.system.unit_table import Case

RELOADS = 3
# Of starts, on a busy machine.
LONG = 200.0
TREE = (
    "find /etc /run /var/lib -xdev -not -path '/run/systemd/*' -printf '%p %y %m %u %g %l\n' | sort"
)
_SPAN = r"(?P<{}>\d+\.\d\d) s"
_REFUSED = re.compile("connections were refused for " + _SPAN.format("refused"))
_GIVE_OR_TAKE = re.compile("give or take " + _SPAN.format("off"))
_WAITED = re.compile("connections waited up to " + _SPAN.format("waited"))
# What is stated may be so many seconds, and this share, off what is seen.
_EITHER = 0.1
_SHARE = 0.2
# A kernel whose first packet is dropped sends it again after so long (RFC 6298, 2). A busy machine
# does that to a program whose queue is short: it is not the command's doing.
_TCP_RETRY = 1.0


class Run:
    """One service of a machine, and its clients."""

    def __init__(self, machine: Machine, case: Case) -> None:
        self.machine, self.case = machine, case
        question = case.question
        if question.address.startswith("/"):
            path = str(machine.path(question.address))
            question = Question(path, question.ask, question.expect)
        self._question = question

    def __enter__(self) -> Run:
        """Write its files, and start it."""
        for path, text in self.case.files.items():
            self.machine.write(path, text)
        self.machine.systemctl("daemon-reload", check=True)
        units = self.case.starts or (self.case.unit,)
        self.machine.systemctl("stop", *units, timeout=LONG)
        for unit in units:
            self.machine.systemctl("start", unit, timeout=LONG, check=True)
        wait.until(self._answers, f"an answer of {self.case.name}", LONG, 0.2)
        return self

    def __exit__(self, error: object, *_rest: object) -> None:
        """End it, and remove its files."""
        if error:  # The next service finds the machine as this one did.
            self.machine.run("sockact", "unwrap", self.case.unit, timeout=LONG)
        for unit in {self.case.unit, *self.case.starts}:
            self.machine.systemctl("kill", "--signal=KILL", unit)
        self.machine.systemctl("stop", *{self.case.unit, *self.case.starts})
        for path in self.case.files:
            self.machine.path(path).unlink(missing_ok=True)
        self.machine.systemctl("daemon-reload", check=True)
        self.machine.systemctl("reset-failed")

    def _answers(self) -> bool:
        try:
            self.visitors().stop()
        except AssertionError:
            return False
        return True

    def visitors(self) -> Visitors:
        """Clients; there must be an answer."""
        return Visitors(self._question, self.machine.enter("--net"))

    def do(self, *command: str, check: bool = True) -> tuple[str, Notes]:
        """Run a command under load: what it has said, and what clients have noticed."""
        with self.visitors() as visitors:
            done = self.machine.run(*command, timeout=LONG)
            journal = "" if not done.returncode else self.machine.journal(self.case.unit)[-3000:]
            assert not (check and done.returncode), f"{done}\n{journal}"
            notes = visitors.stop()
        return done.stdout + done.stderr, notes

    def tree(self) -> set[str]:
        """The files of the machine."""
        return set(self.machine.run("sh", "-c", TREE, check=True).stdout.splitlines())


def check_life(run: Run) -> None:
    """Wrap, reloads, unwrap."""
    name, before = run.case.unit, run.tree()
    wrapped, wrap = run.do("sockact", "wrap", name, check=not run.case.refused)
    if run.case.refused:
        assert run.case.refused in wrapped
        assert not wrap.failures
        assert run.tree() == before
        return
    check_stated(wrapped, wrap)
    reloads = Notes()
    for _ in range(RELOADS):
        _, notes = run.do("systemctl", "reload", name)
        assert not notes.failures, notes
        reloads.answers += notes.answers
    unwrapped, unwrap = run.do("sockact", "unwrap", name)
    check_stated(unwrapped, unwrap)
    with contextlib.suppress(TimeoutError):
        # A program may remove one of its own files a moment later.
        wait.until(lambda: run.tree() == before, "the files as before", 10)
    changed = run.tree() ^ before
    assert not changed, changed
    report(name, reloads, (wrapped, wrap), (unwrapped, unwrap))


def check_stated(said: str, notes: Notes) -> None:
    """What the command has said of clients is what they noticed."""
    refused, waited = (stated(pattern, said) for pattern in (_REFUSED, _WAITED))
    others = notes.failures.keys() - {"refused"}
    assert not others or "waiting in the old queue may have been cut off" in said, notes
    unsure = _EITHER + 2 * notes.gap
    off = unsure + stated(_GIVE_OR_TAKE, said)
    assert abs(refused - notes.refused) <= off + _SHARE * notes.refused, (said, notes)
    if notes.dropped.get("TCPSynRetrans") and "TCP tries again" not in said:
        unsure += _TCP_RETRY
    # "Up to": a client has to come at the worst moment.
    assert notes.waited <= unsure + (1 + _SHARE) * waited, (said, notes)


def stated(pattern: re.Pattern[str], said: str) -> float:
    found = pattern.search(said)
    return float(found[1]) if found else 0.0


def report(name: str, reloads: Notes, wrap: tuple[str, Notes], unwrap: tuple[str, Notes]) -> None:
    """A line for `pytest -rP`."""
    words = [name, f"{reloads.answers} answers and {sum(reloads.failures.values())} failures"]
    for action, (said, notes) in (("wrap", wrap), ("unwrap", unwrap)):
        for word, pattern, seen in (
            ("refused", _REFUSED, notes.refused),
            ("waited", _WAITED, notes.waited),
        ):
            words.append(f"{action}: {word} {stated(pattern, said):.2f} s, seen {seen:.2f} s")
    sys.stdout.write("\n" + " | ".join(words) + "\n")
