"""Which items a request asks for, and which of all items are warm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeAlias

from compilespan.warmup.plan import Plan, plan
from compilespan_service.door.problems import ProblemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from compilespan import WarmupTarget
    from compilespan.warmup.plan import WarmupItem
    from compilespan_service.schemas import WarmupRequest

Planned: TypeAlias = Plan


class Plans:
    """The items of loaded targets. Not locked: the runner that owns it is."""

    def __init__(self, targets: Sequence[WarmupTarget]) -> None:
        self._targets = targets
        self._known: dict[tuple[str, str], WarmupItem] = {}

    def planned(self, request: WarmupRequest) -> Planned:
        """Return fresh items for what a request names, in the targets' order.

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

    def cold(self, planned: Planned) -> Planned:
        """Return the items that are not warm yet."""
        return [each for each in planned if not self._is_warm(each[1])]

    def remember(self, planned: Planned) -> None:
        """Take what a job made of its items; what was warm stays it (a forced run included)."""
        for _, item in planned:
            if not self._is_warm(item):
                self._known[_key(item)] = item

    @property
    def all_warm(self) -> bool:
        """Whether every item of every target is warm."""
        return not self.cold(plan(self._targets))

    def _is_warm(self, item: WarmupItem) -> bool:
        known = self._known.get(_key(item))
        return known is not None and known.is_warm


def keys(planned: Planned) -> set[tuple[str, str]]:
    """Return what tells these items from others."""
    return {_key(item) for _, item in planned}


def _key(item: WarmupItem) -> tuple[str, str]:
    return item.target, item.label
