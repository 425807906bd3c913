"""Which items a request selects, and which of all items are warm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from compilespan.warmup.plan import elsewhere_of, plan
from compilespan_service.door.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compilespan import WarmupTarget
    from compilespan.warmup.plan import Plan, WarmupItem
    from compilespan_service.schemas import WarmupRequest
    from compilespan_service.warmups.job import Job


class Plans:
    """The items of loaded targets. Not thread-safe; the runner calls it under its lock."""

    def __init__(self, targets: Sequence[WarmupTarget]) -> None:
        self._targets = targets
        self._known: dict[tuple[str, str], WarmupItem] = {}
        self._made_warm_by: dict[tuple[str, str], Job] = {}

    @property
    def has_targets(self) -> bool:
        """Whether there is anything to warm."""
        return bool(self._targets)

    @property
    def warms_others(self) -> bool:
        """Whether a target is a server that was started separately."""
        found = map(elsewhere_of, self._targets)
        return any(each is not None and not each.is_of_this_instance for each in found)

    def todo(self, request: WarmupRequest) -> Plan:
        """Return new items for a request: those that are not warm yet, or all with ``force``.

        Raises:
            ProblemError: See `_asked`.
        """
        asked = self._asked(request)
        if request.force:
            return asked
        return [each for each in asked if _key(each[1]) not in self._made_warm_by]

    def made_warm_by(self, request: WarmupRequest) -> Job:
        """Return the last of the jobs that warmed the items of a request."""
        jobs = [self._made_warm_by[_key(item)] for _, item in self._asked(request)]
        return max(jobs, key=lambda job: job.ended_at)

    def remember(self, job: Job, *, cancelled: bool) -> None:
        """Take the results of a job; items that were warm stay warm, even after a forced run.

        A cancelled job is never reported as the one that warmed an item.
        """
        for _, item in job.planned or ():
            if not self._is_warm(item):
                self._known[_key(item)] = item
            if item.is_warm and not cancelled:
                self._made_warm_by.setdefault(_key(item), job)

    @property
    def all_warm(self) -> bool:
        """Whether every item of every target is warm."""
        return not self._cold(plan(self._targets))

    def _asked(self, request: WarmupRequest) -> Plan:
        """Return new items for all that a request names, in the targets' order.

        Raises:
            ProblemError: ``target-not-found``, or ``invalid-request`` for an unknown shape.
        """
        names = {target.name for target in self._targets}
        asked = set(names if request.targets is None else request.targets)
        shapes = request.shapes or {}
        if not names:
            raise ProblemError("target-not-found", "The server's factory returned no targets.")
        if unknown := sorted((asked | set(shapes)) - names):
            raise ProblemError(
                "target-not-found",
                f"There is no target {unknown[0]!r}; this server has: {', '.join(sorted(names))}.",
            )
        planned = [
            (target, item)
            for target, item in plan([each for each in self._targets if each.name in asked])
            if target.name not in shapes or dict(item.shape) in shapes[target.name]
        ]
        for name, wanted in shapes.items():
            known = [dict(item.shape) for _, item in planned if item.target == name]
            if missing := [shape for shape in wanted if shape not in known]:
                raise ProblemError(
                    "invalid-request",
                    f"shapes.{name}: target {name!r} has no shape {json.dumps(missing[0])}; "
                    "shapes come from the server's own targets.",
                    errors=[{"field": f"body.shapes.{name}", "message": "unknown shape"}],
                )
        for _, item in planned:
            if known_item := self._known.get(_key(item)):
                item.graphless = known_item.graphless
        return planned

    def _cold(self, items: Plan) -> Plan:
        return [each for each in items if not self._is_warm(each[1])]

    def _is_warm(self, item: WarmupItem) -> bool:
        known = self._known.get(_key(item))
        return known is not None and known.is_warm


def keys(items: Plan) -> set[tuple[str, str]]:
    """Return the keys that identify these items."""
    return {_key(item) for _, item in items}


def _key(item: WarmupItem) -> tuple[str, str]:
    return item.target, item.label
