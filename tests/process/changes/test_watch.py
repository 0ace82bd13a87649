"""Reloads after changes on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

from tests.support import wait
from tests.support.program import GOOD, Hammer
from tests.support.watched import DELAY, Watched, replace, switch

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import StartService


def link_anew(link: Path, target: str) -> None:
    link.unlink()
    link.symlink_to(target)


def again(path: Path) -> None:
    path.unlink()
    path.write_text("again")


def releases(root: Path) -> Path:
    """Two releases, and a link to one."""
    for number in ("1", "2"):
        (root / number / "etc").mkdir(parents=True)
        (root / number / "etc" / "conf").write_text(number)
    link = root / "current"
    link.symlink_to("1")
    return link


def test_a_file_however_it_is_changed(start: StartService, folder: Path) -> None:
    file = folder / "site" / "conf"
    file.parent.mkdir()
    file.write_text("1")
    one = Watched(start, folder, "conf")
    one.once(lambda: file.write_text("2"))
    one.once(lambda: replace(file, "3"))
    one.once(lambda: again(file))
    one.nothing(file.with_name("other").touch)
    one.nothing(lambda: file.chmod(0o600))
    one.nothing(file.read_text)


def test_a_file_that_is_gone_is_waited_for(start: StartService, folder: Path) -> None:
    """The wait is bounded; after that it is a change like any other."""
    file = folder / "site" / "conf"
    file.parent.mkdir()
    file.write_text("1")
    one = Watched(start, folder, "conf")
    one.once(file.unlink)
    one.once(lambda: file.write_text("2"))


def test_a_file_that_takes_long_to_be_written(start: StartService, folder: Path) -> None:
    one = Watched(start, folder, "")
    with (one.root / "upload").open("w") as file:
        # Both are heard of together: what is begun counts when it is closed.
        (one.mark / "0").mkdir()
        file.write("half")
    one.wait_for(1)
    assert f"2 files changed ({one.root}/upload, {one.mark}/0), reloading" in one.service.stderr
    one.nothing()


def test_a_tree(start: StartService, folder: Path) -> None:
    (folder / "site" / "a" / "b").mkdir(parents=True)
    one = Watched(start, folder, "")
    one.once(lambda: (one.root / "a" / "b" / "file").write_text("1"))
    one.once(lambda: (one.root / "new" / "below").mkdir(parents=True))
    one.once(lambda: (one.root / "new" / "below" / "file").write_text("1"))


def test_a_directory_that_is_moved(start: StartService, folder: Path) -> None:
    site = folder / "site"
    (site / "a" / "below").mkdir(parents=True)
    one = Watched(start, folder, "")
    one.once(lambda: (site / "a").rename(site / "b"))
    one.once(lambda: (site / "b" / "below" / "file").write_text("1"))
    one.once(lambda: (site / "b").rename(folder / "away"))
    one.nothing(lambda: (folder / "away" / "below" / "file").write_text("2"))


def test_a_new_directory(start: StartService, folder: Path) -> None:
    (folder / "away" / "below").mkdir(parents=True)
    one = Watched(start, folder, "")
    one.once(lambda: (folder / "away").rename(one.root / "here"))
    one.once(lambda: (one.root / "here" / "below" / "file").write_text("3"))


def test_changes_that_do_not_count(start: StartService, folder: Path) -> None:
    one = Watched(start, folder, "", options=(*DELAY, "--watch-ignore", "data*"))

    def write() -> None:
        for name in (".conf.swp", "conf~", "4913", "a.pyc", "app.log", "x.sqlite3-wal", "data.1"):
            (one.root / name).write_text("1")
        for name in (".git", "__pycache__", "node_modules"):
            (one.root / name / "inner").mkdir(parents=True)
            (one.root / name / "inner" / "file").write_text("1")

        (one.root / "made").write_text("1")
        (one.root / "made").unlink()

    one.nothing(write)


def test_a_link_that_is_switched(start: StartService, folder: Path) -> None:
    (folder / "site").mkdir()
    link = releases(folder / "site")
    one = Watched(start, folder, "current")
    one.once(lambda: switch(link, "2"))
    one.nothing(lambda: (one.root / "1" / "etc" / "conf").write_text("old"))
    one.once(lambda: (one.root / "2" / "etc" / "conf").write_text("new"))
    one.once(lambda: link_anew(link, str(one.root / "1")))
    one.once(lambda: (one.root / "1" / "etc" / "conf").write_text("new"))


def test_a_link_on_the_way(start: StartService, folder: Path) -> None:
    (folder / "site").mkdir()
    link = releases(folder / "site")
    (folder / "site" / "via").symlink_to("current/../current")
    one = Watched(start, folder, "via/etc/conf")
    one.once(lambda: switch(link, "2"))
    one.nothing(lambda: (one.root / "1" / "etc" / "conf").write_text("old"))
    one.once(lambda: (one.root / "2" / "etc" / "conf").write_text("new"))


def test_a_path_that_is_not_there_yet(start: StartService, folder: Path) -> None:
    one = Watched(start, folder, "a/b/conf")
    one.nothing((one.root / "a").mkdir)
    one.nothing((one.root / "a" / "b").mkdir)
    one.once(lambda: (one.root / "a" / "b" / "conf").write_text("1"))


def test_links_in_a_circle(start: StartService, folder: Path) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "a").symlink_to("b")
    (folder / "site" / "b").symlink_to("a")
    one = Watched(start, folder, "a")
    one.once(lambda: switch(one.root / "b", "."))


def test_however_much_goes_on(start: StartService, folder: Path) -> None:
    one = Watched(start, folder, "")
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.02):
            (one.root / "busy").write_text("1")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        one.wait_for(1)
    finally:
        stop.set()
        thread.join()


def test_a_change_while_it_reloads(start: StartService, folder: Path) -> None:
    """It leads to one more reload, and no client notices."""
    gate = folder / "gate"
    gate.touch()
    body = f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n{GOOD}"
    one = Watched(start, folder, "", body=body)
    with Hammer(one.program.port) as clients:
        gate.unlink()
        (one.root / "first").write_text("1")
        wait.until(lambda: one.service.states().get(2) == "pending", "the reload")
        one.program.publish("2", body)
        for name in ("second", "third"):
            (one.root / name).write_text("1")
        line = f"2 files changed ({one.root}/second, {one.root}/third), reloading"
        assert line not in one.service.stderr
        gate.touch()
        clients.wait_for("2")
        one.wait_for(2)
    assert line in one.service.stderr
    assert clients.failures == []
    one.nothing()


def test_more_than_the_kernel_can_tell(start: StartService, folder: Path) -> None:
    one = Watched(start, folder, "")
    with open("/proc/sys/fs/inotify/max_queued_events") as file:
        most = int(file.read())
    names = [one.root / "a.log", one.root / "b.log"]
    names[0].touch()
    one.service.signal(signal.SIGSTOP)
    for number in range(most // 2 + 10):
        os.rename(names[number % 2], names[1 - number % 2])
    one.service.signal(signal.SIGCONT)
    one.wait_for(1)
    assert "more than the kernel could report" in one.service.stderr
    one.nothing()


def test_a_program_that_writes_there_itself(start: StartService, folder: Path) -> None:
    file = folder / "site" / "state"
    body = f"open({str(file)!r}, 'w').close()\n{GOOD}"
    one = Watched(start, folder, "", body=body, options=DELAY[:2])
    wait.until(lambda: one.service.status()["watch"]["stopped"] or None, "an end of it", 60.0)
    assert "10 reloads in a row; if the program itself writes there" in one.service.stderr
    why = "not reloading until nothing has changed for 60 s"
    shown = one.service.run("status", "test").stdout
    assert f" watching {one.mark}, {one.root}; {why} " in " ".join(shown.split())

    def told() -> bool:
        message = one.service.notify.receive()
        assert message, "systemd is not told"
        return why in (message.get("STATUS") or "")

    wait.until(told, "a STATUS")
    assert {one["cause"] for one in one.handovers()} == {"watch"}
    assert len(one.handovers()) == 10
    # After a reload by hand changes count again.
    assert one.service.reload().code == 0
    one.wait_for(12)


def test_a_release_that_fails(start: StartService, folder: Path) -> None:
    one = Watched(start, folder, "", options=(*DELAY, "--start-limit-burst", "1"))
    one.program.publish("2", "raise SystemExit(3)\n")
    (one.root / "file").write_text("1")
    one.wait_for(1)
    assert one.handovers()[0]["outcome"] == "failed"
    assert one.program.ask() == "1"
    (one.root / "file").write_text("2")
    wait.until(lambda: ", not reloading: " in one.service.stderr, "a line that says so")
    assert len(one.handovers()) == 1


def test_it_goes_on_after_an_upgrade(start: StartService, folder: Path) -> None:
    one = Watched(start, folder, "")
    before = one.service.status()["pid"]
    assert one.service.run("upgrade", "test").code == 0
    assert one.service.status()["pid"] == before
    one.once(lambda: (one.root / "file").write_text("1"))


def test_no_more_watches_are_to_be_had(start: StartService, folder: Path) -> None:
    limit = ("unshare", "--user", "--map-root-user", "sh", "-c")
    script = 'echo 9 >/proc/sys/user/max_inotify_watches && exec "$@"'
    for number in range(20):
        (folder / "site" / str(number)).mkdir(parents=True)
    one = Watched(start, folder, "", launcher=(*limit, script, "sh"))
    assert "fs.inotify.max_user_watches is reached; raise it" in one.service.stderr
    # What is above is watched before what is below.
    (one.root / "file").write_text("1")
    one.wait_for(1)
    script = "echo 999 >/proc/sys/user/max_inotify_watches"
    enter = ("nsenter", f"--target={one.service.process.pid}", "--user", "sh", "-c", script)
    subprocess.run(enter, check=True)
    # A reload tries again.
    assert one.service.reload().code == 0
    (one.root / "19" / "file").write_text("1")
    one.wait_for(3)


def test_a_tree_that_is_too_large(start: StartService, folder: Path) -> None:
    for number in range(2100):
        (folder / "site" / str(number)).mkdir(parents=True)
    one = Watched(start, folder, "")
    assert f"watch: {one.root}: more than 2048 directories; watch fewer" in one.service.stderr
    one.once(lambda: (one.root / "file").write_text("1"))


def test_a_path_that_cannot_be(start: StartService, folder: Path) -> None:
    one = Watched(start, folder, "x" * 300 + "/conf", "\n")
    paths = [str(one.mark), f"{one.root}/{'x' * 300}/conf", f"{one.root}/\n"]
    assert one.service.status()["watch"] == {"paths": paths, "stopped": ""}
    one.once(lambda: (one.root / "\n").write_text("1"))
