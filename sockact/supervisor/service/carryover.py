"""The state of a service that an upgrade in place hands over: docs/upgrade.md."""

from __future__ import annotations

from functools import partial

from sockact.core.lifecycle.machine import in_progress
from sockact.core.record import dataclass
from sockact.supervisor.records.carried_state import CarriedProgram, service_from, service_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.base.retry import Retry
    from sockact.supervisor.canaries.canaries import Canaries
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.hooks.runner import HookRunner
    from sockact.supervisor.logs.logs import Logs
    from sockact.supervisor.logs.rotation import Rotation
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls
    from sockact.supervisor.processes.termination import Termination
    from sockact.supervisor.records.history import History
    from sockact.supervisor.service.announcer import Announcer
    from sockact.supervisor.service.lifecycle import Lifecycle
    from sockact.supervisor.service.outcomes import Outcomes


@dataclass
class CarryOver:
    """Collects the state for the next version of sockact, and restores that of the previous one."""

    _lifecycle: Lifecycle
    _context: Context
    _generations: Generations
    _processes: Processes
    _gates: Gates
    _calls: ShimCalls
    _termination: Termination
    _logs: Logs
    _rotation: Rotation
    _hooks: HookRunner
    _outcomes: Outcomes
    _announcer: Announcer
    _history: History
    _retry: Retry
    _canaries: Canaries

    def busy(self) -> str:
        """Return what has to end first, because it cannot be handed over; "" if nothing has to."""
        if reason := in_progress(self._lifecycle.service):
            return reason
        if self._generations.are_busy():
            return "a launch is in progress"
        if self._hooks.busy():
            return "a hook is running"
        if self._calls.busy():
            return "the program has not carried out an order yet"
        if self._termination.busy():
            return "a stop signal is to be sent"
        if reason := self._logs.busy() or self._canaries.busy():
            return reason
        if self._rotation.busy():
            return "log files are being reopened"
        return "cannot read /proc" if self._retry.busy() else ""

    def carried(self) -> CarriedProgram:
        """Return the state of the service, if it is not busy."""
        calls, shim_socket = self._calls.filenos()
        launched = (one.carried(self._gates) for one in self._generations.values())
        return CarriedProgram(
            self._context.adopt,
            self._context.shim_address,
            calls,
            service_of(self._lifecycle.service),
            tuple(launched),
            *self._processes.carried(),
            self._processes.carried_failures(),
            self._history.carried(),
            *self._outcomes.carried(),
            self._logs.carried(),
            shim_socket,
            self._calls.path,
            self._context.lending.lanes.steered,
            self._context.lending.lanes.orders(),
            self._canaries.carried(),
        )

    def resume(self, carried: CarriedProgram) -> None:
        """Restore the state of the previous version of sockact."""
        self._processes.take_over(carried)
        self._logs.take_over(carried.logs)
        for one in carried.generations:
            self._generations.resume(self._context, one)
            self._gates.take_over(one)
        self._outcomes.take_over(carried.failed_handover, carried.failed_lines)
        service = service_from(carried.service, self._lifecycle.service.policy)
        self._announcer.take_over(service.phase)
        self._lifecycle.resume(service)
        self._canaries.take_over(carried.evidence)
        # The previous version may have steered otherwise.
        self._retry.attempt("steer", partial(self._context.lending.follow, anew=True))
