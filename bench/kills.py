"""SIGKILL at random moments of reloads, under load: who is refused, and what else clients lose.

The listener belongs to this process, as to a .socket unit. A supervisor that has ended is started
again at once, with the listener and what it has stored, as by Restart=always.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from bench.bare import temporary
from bench.load import Kind, Load, Plan
from bench.process import LoadProcess
from bench.tally import Report
from tests.servers import zoo
from tests.support import deployment, leaks, network, passing, varlink, wait
from tests.support.lanes import told
from tests.support.service import Service

if TYPE_CHECKING:
    from pathlib import Path

    from tests.servers.commands import Address
    from tests.servers.releases import Releases

SERVERS = ("uvicorn asyncio", "gunicorn gthread", "http.server 1.1")
WHO = ("supervisor", "previous", "next", "worker", "log pump")
LOADS = (Load(Kind.NEW, 4, pause=0.005, timeout=60.0), Load(Kind.KEEP_ALIVE, 1, pause=0.005))
LATEST = (0.15, 0.5, 1.2)
"""Seconds after the beginning of the reload."""
LANES = ("--lanes", "require", "--canary", "30% 1s, 60% 1s")
LANES_WHO = ("supervisor", "previous", "next")
LANES_LATEST = (0.5, 1.5, 3.0)
ASKED: tuple[tuple[str, dict[str, int]] | None, ...] = (
    None,
    None,
    ("Promote", {}),
    ("Rollback", {}),
    ("SetShare", {"share": 450}),
)
"""What a supervisor with a canary is asked for just before the kill."""
LONGEST = 3600.0
BACK_WITHIN = 60.0
LOG_PUMP = "sockact-log"


@dataclass
class Killed:
    """What became of the clients of one server."""

    server: str
    kills: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    report: Report = field(default_factory=Report)
    trouble: list[str] = field(default_factory=list)
    told: Counter[str] = field(default_factory=Counter)
    """What the journal says of connections that waited for what was killed."""


class _Unit:
    """The service, and what systemd is to it."""

    def __init__(self, server: zoo.Server, folder: Path, options: tuple[str, ...] = ()) -> None:
        self._server = server
        self._options = options
        self._folder = folder
        self.address: Address
        self.releases: Releases
        self.address, self.releases = deployment.choose(server, folder)
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", self.address.port))
        self._listener.listen(1024)
        self.starts = 0
        self.service = self._start({})

    def _start(self, store: dict[str, int]) -> Service:
        self.starts += 1
        own = self._folder / str(self.starts)
        own.mkdir()
        environment = zoo.environment(self.releases)
        state = str(self._folder / "state")
        named = [("main", self._listener.fileno()), *store.items()]
        with passing.passed(named) as handed:
            service = Service(
                self._server.command(self.address),
                folder=own,
                options=(
                    *("--directory", str(self._server.directory(self.releases))),
                    *("--log", str(self._folder / "log"), "--drain-timeout", "5s"),
                    *("--start-limit-burst", "0", *self._options),
                ),
                environment={**environment, **handed.variables, "SOCKACT_STATE_DIR": state},
                pass_fds=handed.fds,
                launcher=handed.launcher,
            )
        service.notify.store.update(store)
        service.wait_ready(BACK_WITHIN)
        return service

    def restart_if_ended(self) -> bool:
        """What Restart=always does; returns whether it had ended."""
        if self.service.process.poll() is None:
            return False
        while self.service.notify.receive(0):
            pass
        store = dict(self.service.notify.store)
        self.service.notify.store.clear()
        # KillMode=: nothing of the control group outlives the supervisor.
        for pid in leaks.processes():
            if self._is_own(pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.service.remove_sockets()
        self.service.notify.close()
        self.service = self._start(store)
        return True

    def _is_own(self, pid: int) -> bool:
        with suppress(psutil.Error):
            runtime = psutil.Process(pid).environ().get("SOCKACT_RUNTIME_DIR", "")
            return runtime.startswith(str(self._folder)) and pid != self.service.process.pid
        return False

    def victim(self, who: str, chance: random.Random) -> int:
        """The process to kill now; 0 if there is none."""
        supervisor = self.service.process.pid
        if who == "supervisor":
            return supervisor
        if who == "log pump":
            with suppress(psutil.Error):
                for child in psutil.Process(supervisor).children():
                    if child.name() == LOG_PUMP:
                        return child.pid
            return 0
        generations = [one for one in self.service.status()["generations"] if one["pid"]]
        generations.sort(key=lambda one: int(one["number"]))
        if not generations:
            return 0
        chosen = generations[0 if who == "previous" else -1]
        return int(chance.choice(chosen["pids"] or [0]) if who == "worker" else chosen["pid"])

    def serves(self) -> bool:
        """Whether a generation serves."""
        try:
            status = self.service.status()
        except (OSError, varlink.VarlinkError):
            return False
        return status["state"] == "serving" and any(
            one["state"] == "running" for one in status["generations"]
        )

    def ask(self, method: str, parameters: dict[str, int]) -> None:
        """Call a method of the supervisor, if it lives, and do not wait for the answer."""
        with suppress(OSError):
            varlink.begin(self.service.control, method, parameters).close()

    def told(self) -> Counter[str]:
        """What all its supervisors have said of connections that were not accepted."""
        found = Counter[str]()
        for number in range(1, self.starts + 1):
            found.update(told((self._folder / str(number) / "stderr").read_text(errors="replace")))
        return found

    def close(self) -> None:
        """Stop it, and close the listener."""
        self.restart_if_ended()
        self.service.close()
        self._listener.close()


def measure_lanes(name: str, kills: int, *, migrate: bool) -> Killed:
    """Kill in reloads with canaries, in a network of its own; see network.alone."""
    with network.alone(migrate=migrate):
        return measure(name, kills, lanes=True)


def measure(name: str, kills: int, seed: int = 1, *, lanes: bool = False) -> Killed:
    """Kill so many processes of a service, each in a reload of its own."""
    whom, latest = (LANES_WHO, LANES_LATEST) if lanes else (WHO, LATEST)
    chance = random.Random(f"{name} {seed}")
    leaks.become_subreaper()
    found = Killed(name)
    with ExitStack() as stack:
        unit = _Unit(zoo.BY_NAME[name], stack.enter_context(temporary()), LANES if lanes else ())
        stack.callback(unit.close)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        load = stack.enter_context(LoadProcess(Plan(unit.address.target, LOADS, LONGEST)))
        load.wait_started()
        for number in range(kills):
            who = whom[number % len(whom)]
            unit.releases.publish(str(number + 2))
            reload = pool.submit(unit.service.reload)
            threading.Event().wait(chance.random() * chance.choice(latest))
            if lanes and (asked := chance.choice(ASKED)):
                unit.ask(*asked)
            found.kills[who] += _kill(unit, who, chance)
            if lanes:
                unit.ask("Promote", {})  # A share that was set by hand would last.
            reload.result()
            try:
                found.restarts += _recover(unit)
            except (TimeoutError, AssertionError) as error:
                found.trouble.append(f"kill {number + 1}, {who}: {error}")
                break
        found.report = load.stop()
        found.told = unit.told()
    return found


def _kill(unit: _Unit, who: str, chance: random.Random) -> bool:
    try:
        if pid := unit.victim(who, chance):
            os.kill(pid, signal.SIGKILL)
            if pid == unit.service.process.pid:
                unit.service.process.wait()  # Its clients hear of its end a moment earlier.
            return True
    except (OSError, varlink.VarlinkError):
        pass  # It ended by itself.
    return False


def _recover(unit: _Unit) -> int:
    restarted = unit.restart_if_ended()
    wait.until(unit.serves, "the service to serve again", BACK_WITHIN, 0.05)
    return int(restarted)
