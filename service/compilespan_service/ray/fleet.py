"""A fleet of replicas, seen from anywhere in the Ray cluster."""

from __future__ import annotations

import collections
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

from compilespan.ledger.totals import CompileTotals, TotalsBuilder
from compilespan_service.ray.register import Register, Replica, ReplicaState

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMESPACE = "compilespan"
CALL_S = 10.0
"""Seconds that a call of the actor may take."""
_THREADS = 16


@dataclass(frozen=True, slots=True)
class FleetHealth:
    """How the replicas of a fleet are.

    Attributes:
        states: Number of replicas by state: ``warming``, ``warm``, ``not warm``, ``lost``.
        replicas: Each of them, in the order in which they joined.
    """

    states: Mapping[ReplicaState, int]
    replicas: tuple[Replica, ...]

    @property
    def is_warm(self) -> bool:
        """Whether there is a replica, and all that are not lost are warm."""
        states = {state for state, count in self.states.items() if count} - {"lost"}
        return states == {"warm"}


class Fleet:
    """The replicas that share a name; found or created in the Ray cluster of this process."""

    def __init__(self, name: str) -> None:
        """Connect to the actor of the fleet, and create it if it is not there.

        Args:
            name: The same in all replicas; ``warm_replica`` uses ``application/deployment``.
        """
        environment = {k: v for k, v in os.environ.items() if k.startswith("OTEL_")}
        self._register: Any = (
            ray.remote(Register)
            .options(
                name=f"fleet {name}",
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                num_cpus=0,
                max_restarts=-1,
                max_concurrency=_THREADS,
                runtime_env={"env_vars": environment},
            )
            .remote(name)
        )

    def health(self) -> FleetHealth:
        """Return how the replicas are.

        Raises:
            ray.exceptions.RayError: The actor does not answer.
        """
        replicas = tuple(self.call("replicas"))
        return FleetHealth(collections.Counter(each.state for each in replicas), replicas)

    def totals(self) -> CompileTotals:
        """Return what compiling cost all replicas: sums, and the union of their intervals.

        Raises:
            ray.exceptions.RayError: The actor does not answer.
        """
        builder = TotalsBuilder()
        for replica in self.call("replicas"):
            if replica.totals is not None:
                builder.add_json(replica.totals)
        return builder.build()

    def call(self, method: str, *arguments: Any) -> Any:
        """Return the result of a method of `Register`.

        Raises:
            ray.exceptions.RayError: The actor does not answer.
        """
        return ray.get(self.send(method, *arguments), timeout=CALL_S)

    def send(self, method: str, *arguments: Any) -> Any:
        """Call a method of `Register` without waiting; return a reference to its result."""
        return getattr(self._register, method).remote(*arguments)
