"""What one service carries over an upgrade in place: docs/upgrade.md."""

from __future__ import annotations

from sockact.core.lifecycle.machine import in_progress
from sockact.supervisor.records.carried_state import CarriedProgram, service_from, service_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sockact.supervisor.base.retry import Retry
    from sockact.supervisor.gates.gates import Gates
    from sockact.supervisor.generations.context import Context
    from sockact.supervisor.generations.generations import Generations
    from sockact.supervisor.hooks.runner import HookRunner
    from sockact.supervisor.logs.logs import Logs
    from sockact.supervisor.logs.rotation import Rotation
    from sockact.supervisor.processes.processes import Processes
    from sockact.supervisor.processes.shim_calls import ShimCalls
    from sockact.supervisor.records.history import History
    from sockact.supervisor.service.announcer import Announcer
    from sockact.supervisor.service.callers import Callers
    from sockact.supervisor.service.lifecycle import Lifecycle


class CarryOver:
    """Collects the state of a service, and puts that of an earlier version back."""

    def __init__(
        self,
        lifecycle: Lifecycle,
        context: Context,
        generations: Generations,
        processes: Processes,
        gates: Gates,
        calls: ShimCalls,
        logs: Logs,
        rotation: Rotation,
        hooks: HookRunner,
        callers: Callers,
        announcer: Announcer,
        history: History,
        retry: Retry,
    ) -> None:
        self._lifecycle = lifecycle
        self._context = context
        self._generations = generations
        self._processes = processes
        self._gates = gates
        self._calls = calls
        self._logs = logs
        self._rotation = rotation
        self._hooks = hooks
        self._callers = callers
        self._announcer = announcer
        self._history = history
        self._retry = retry

    def busy(self) -> str:
        """What only this process knows of, so that it has to end first; "" for nothing."""
        if reason := in_progress(self._lifecycle.service):
            return reason
        if self._generations.are_busy():
            return "a launch is not over"
        if self._hooks.busy():
            return "a hook has not ended"
        if self._calls.busy():
            return "the program has not carried out an order yet"
        if reason := self._logs.busy():
            return reason
        if self._rotation.busy():
            return "log files are being reopened"
        return "/proc cannot be read now" if self._retry.busy() else ""

    def carried(self) -> CarriedProgram:
        """All that is known of the service, while not busy."""
        launched = (one.carried(self._gates) for one in self._generations.values())
        return CarriedProgram(
            self._context.adopt,
            self._context.shim_address,
            self._calls.fileno(),
            service_of(self._lifecycle.service),
            tuple(launched),
            *self._processes.carried(),
            self._processes.carried_failures(),
            self._history.carried(),
            *self._callers.carried(),
            self._logs.carried(),
        )

    def resume(self, carried: CarriedProgram) -> None:
        """Know what an earlier version of sockact knew."""
        self._processes.take_over(carried)
        self._logs.take_over(carried.logs)
        for one in carried.generations:
            self._generations.resume(self._context, one)
            self._gates.take_over(one)
        self._callers.take_over(carried.failed_handover, carried.failed_lines)
        service = service_from(carried.service, self._lifecycle.service.policy)
        self._announcer.take_over(service.phase)
        self._lifecycle.resume(service)
