"""Starts the supervisor: settings, lock, listeners, the way of adopting, then the loop."""

from __future__ import annotations

import os

from sockact.core.errors import OperatorError
from sockact.core.lanes import lending, missing
from sockact.core.record import replace
from sockact.core.settings import Adopt, LaneUse, MoveUse, Settings
from sockact.handover import lane_opening
from sockact.handover.adoption import availability
from sockact.kernel import pidfd
from sockact.kernel.libc import become_subreaper
from sockact.supervisor.base import report
from sockact.supervisor.base.report import Reporter
from sockact.supervisor.control import claim, paths
from sockact.supervisor.logs.targets import check as check_logs
from sockact.supervisor.probes.probe_commands import trial_command
from sockact.supervisor.processes import fd_store, launch
from sockact.supervisor.resources import Resources
from sockact.systemd import listeners
from sockact.systemd.notify import Notifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.handover.lanes import Lanes
    from sockact.kernel.sockets.listener import Listener
    from sockact.systemd.fdstore import Kept, Process


def main(settings_json: str) -> int:
    """Run the service that the settings describe; return the exit status of `sockact run`."""
    settings = Settings.from_json(settings_json)
    reporter = Reporter(settings.name, style=settings.log_format, terse=settings.terse)
    try:
        return _run(settings, reporter)
    except (OperatorError, paths.RuntimeDirError) as error:
        reporter.say(str(error), report.ERROR)
        return 2
    finally:
        reporter.close()


def _run(settings: Settings, reporter: Reporter) -> int:
    # Before any file is opened: it could get the number of a closed descriptor of LISTEN_FDS.
    passed, kept = listeners.passed(os.environ)
    launch.raise_file_limit()
    check_logs(settings)
    held = claim.take(paths.runtime_dir(settings.name))
    notifier = Notifier(os.environ)
    notifier.learn_store(os.environ)
    resources = Resources(settings, reporter, held, notifier, [])
    status = None
    try:
        resources.listeners.extend(_listeners(settings, reporter, passed, kept, notifier))
        status = serve(resources, _lanes(resources, kept), kept.processes)
        return status
    finally:
        resources.release(status)


def _listeners(
    settings: Settings,
    reporter: Reporter,
    passed: list[Listener] | None,
    kept: Kept,
    notifier: Notifier,
) -> list[Listener]:
    if passed is not None:
        if {listeners.parse(text)[1] for text in settings.listen} - {x.address for x in passed}:
            reporter.say("systemd passed listeners; ignoring --listen", report.NOTICE)
        # Remove those that were kept before, but for the lanes beside these.
        fd_store.drop_lanes(kept, {x.address for x in passed}, notifier)
        fd_store.own_listeners((), replace(kept, lanes=[]), notifier)
        return passed
    if not settings.listen:
        raise OperatorError(
            "no listener: systemd passed none (check that the .socket unit is active), "
            "and --listen ADDRESS is not given"
        )
    grouped = settings.lanes is not LaneUse.OFF
    return fd_store.own_listeners(settings.listen, kept, notifier, grouped=grouped)


def _lanes(resources: Resources, kept: Kept) -> Lanes:
    """Open the lanes that the settings ask for. Raises OperatorError."""
    first, use = [*resources.listeners], resources.settings.lanes
    try:
        found = lane_opening.passed(first, wanted=use is not LaneUse.OFF)
        if found is None:
            count = 1 if use is LaneUse.OFF else lending.MOST
            found = fd_store.own_lanes(first, kept, resources.notifier, count)
        else:
            fd_store.drop_lanes(kept, (), resources.notifier)
    except OSError as error:
        raise OperatorError(f"cannot use the lanes of the service: {error.strerror}") from error
    resources.listeners[:] = found.listeners
    why = found.why_none or missing.OFF
    needs = {
        "--lanes require": use is LaneUse.REQUIRE,
        "--canary needs lanes": bool(resources.settings.canary),
        "--warm needs lanes": bool(resources.settings.warm),
    }
    for need, wanted in needs.items():
        if wanted and found.count == 1:
            raise OperatorError(f"{need}: {why}")
    return found


def serve(resources: Resources, opened: Lanes, left: list[Process]) -> int:
    """Run the service once the processes in `left` have ended; return the exit status.

    `left` are processes of an earlier supervisor of this service.
    """
    if opened.lost:
        resources.notice(opened.lost.told("that waited in other lanes"))
    wanted = resources.settings.adopt
    attempt = availability.Attempt() if wanted.may_be_seccomp else None
    from sockact.supervisor.assembly import Supervisor  # Most of the code: loaded meanwhile.

    way = _choose(wanted, attempt.reason(), resources.reporter) if attempt else wanted
    if resources.settings.move_connections is MoveUse.ON:
        from sockact.supervisor.moving import requirements  # Few services have it.

        if why := requirements.missing(way):
            raise OperatorError(f"--move-connections on: {why}")
    # Refuse a probe or a warm-up that cannot work now, not at the first reload.
    trial_command(resources.settings, opened.addresses)
    if resources.settings.warm:
        from sockact.supervisor.probes import warm_up  # Few services have one.

        warm_up.check(resources.settings, opened.addresses)
    if reason := pidfd.unavailable():
        resources.notice(
            f"pidfd_open is refused ({reason}): sending signals by pid, and programs on epoll need "
            "the shim to stop accepting; allow pidfd_open and pidfd_getfd (see the container's "
            "seccomp profile)"
        )
    become_subreaper()
    return Supervisor(resources, opened, way).start(left)


def _choose(wanted: Adopt, reason: str, reporter: Reporter) -> Adopt:
    """Return SECCOMP, or for AUTO the shim if there is a reason why SECCOMP cannot be used."""
    if not reason:
        return Adopt.SECCOMP
    if wanted is not Adopt.AUTO:
        raise OperatorError(f"--adopt {wanted}: {reason}; use --adopt shim for a Python program")
    reporter.say(f"using --adopt shim, which needs a Python program ({reason})", report.NOTICE)
    return Adopt.SHIM
