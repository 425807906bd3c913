"""The state of the process, and what its probes answer in each state."""

from __future__ import annotations

import enum
import threading
from typing import TYPE_CHECKING

from compilespan import get_ledger

if TYPE_CHECKING:
    from compilespan_service.warmups.policy import Policy


class ProcessState(enum.Enum):
    """A state of the process; the probes show it."""

    LOADING = "loading"
    COLD = "cold"
    WARM = "warm"
    NO_TARGETS = "no-targets"
    LOAD_FAILED = "load-failed"
    NOT_WARM = "not-warm"
    DRAINING = "draining"


_NEXT: dict[ProcessState, frozenset[ProcessState]] = {
    ProcessState.LOADING: frozenset(
        {
            ProcessState.COLD,
            ProcessState.WARM,  # a follower, when its workers are ready
            ProcessState.NO_TARGETS,
            ProcessState.LOAD_FAILED,
        }
    ),
    ProcessState.COLD: frozenset({ProcessState.WARM, ProcessState.NOT_WARM}),
    ProcessState.NOT_WARM: frozenset({ProcessState.WARM}),
    # A later job, forced or not, never takes readiness away.
    ProcessState.WARM: frozenset(),
    ProcessState.NO_TARGETS: frozenset(),
    ProcessState.LOAD_FAILED: frozenset(),
    ProcessState.DRAINING: frozenset(),
}


_NOT_BEGUN = (
    "The server has not run the lifespan of compilespan's router. If its app is mounted into "
    "another one, include the router in the outermost app instead."
)


class Lifecycle:
    """The state of this process; marks the process ready when ``/readyz`` first succeeds."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._lock = threading.RLock()  # a signal handler drains
        self.state = ProcessState.LOADING
        self.detail: str | None = _NOT_BEGUN
        """The reason for the state, for operators."""

    def advance(self, state: ProcessState, detail: str | None = None) -> None:
        """Change to ``state`` if `_NEXT` allows it, or to draining; otherwise stay."""
        if not self._may_become(state):
            return
        # Before a probe says so. It exports spans, and `drain` in a signal handler needs the lock.
        if self._is_ready_in(state) and not self._policy.is_guest:  # its server reports that
            get_ledger().mark_ready()
        with self._lock:
            if not self._may_become(state):
                return
            self.state, self.detail = state, detail

    def begin(self) -> None:
        """Record that the server runs the lifespan."""
        self.detail = None

    def wait_for(self, what: str) -> None:
        """Describe what the process waits for, while it loads."""
        with self._lock:
            if self.state is ProcessState.LOADING:
                self.detail = what

    def _may_become(self, state: ProcessState) -> bool:
        return state is ProcessState.DRAINING or state in _NEXT[self.state]

    @property
    def is_started(self) -> bool:
        """Whether ``/startupz`` answers 200."""
        if self._policy.is_guest:  # a server that answers has started
            return True
        if self.state is ProcessState.LOADING:
            return False
        return self.state is not ProcessState.COLD or self._policy.warmup == "on-request"

    @property
    def is_ready(self) -> bool:
        """Whether ``/readyz`` answers 200, if the other workers are ready, too."""
        return self._is_ready_in(self.state)

    def _is_ready_in(self, state: ProcessState) -> bool:
        if self._policy.is_guest:
            return state is not ProcessState.DRAINING
        if state is ProcessState.COLD:
            return self._policy.ready_when == "loaded"
        if state is ProcessState.NOT_WARM:
            return self._policy.on_warmup_failure == "serve"
        return state is ProcessState.WARM
