"""What a monitor counts while it is open: graphs, cache results, breaks, nested outcomes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.records import MAX_EVENTS, CompileEvent, GraphBreak

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.util.types import AttributeValue

    from compilespan.semconv import CacheResult, Kind, Outcome

MAX_GRAPH_BREAKS = 64
MAX_COMPILE_IDS = 256
_MAX_TEXT = 256


class Tally:
    """Counts of one record. Not locked: the monitor that owns it is."""

    def __init__(self) -> None:
        self.graphs = 0
        self.graph_break_count = 0
        self.graph_breaks: list[GraphBreak] = []
        self.events: list[CompileEvent] = []
        self.compile_ids: list[str] = []
        self.is_recompile = False
        self.recompile_reason: str | None = None
        self.recompile_limit_hit = False
        self.error_type: str | None = None
        self._cache: dict[str, int] = {"hit": 0, "miss": 0, "bypass": 0}
        self._kinds: set[Kind] = set()
        self._outcomes: set[Outcome] = set()
        self._components: set[bool] = set()

    def event(self, name: str, attributes: Mapping[str, AttributeValue], time_ns: int) -> None:
        """Keep an event, and count it by its name."""
        if len(self.events) < MAX_EVENTS:
            brief = {key: _brief(value) for key, value in attributes.items()}
            self.events.append(CompileEvent(name, time_ns, brief))
        if name == semconv.EVENT_GRAPH:
            self.graphs += 1
            result = str(attributes.get(semconv.CACHE_RESULT))
            if result in self._cache:
                self._cache[result] += 1
            self._kinds.add("compile")
        elif name == semconv.EVENT_GRAPH_BREAK:
            self.graph_break_count += 1
            if len(self.graph_breaks) < MAX_GRAPH_BREAKS:
                self.graph_breaks.append(
                    GraphBreak(
                        str(attributes.get(semconv.GRAPH_BREAK_REASON, "")),
                        str(attributes.get(semconv.CODE_FILE_PATH, "")),
                        int(str(attributes.get(semconv.CODE_LINE_NUMBER, 0))),
                    )
                )
        elif name == semconv.EVENT_RECOMPILE:
            self.is_recompile = True
            self.recompile_reason = str(attributes.get(semconv.RECOMPILE_REASON, ""))
        elif name == semconv.EVENT_RECOMPILE_LIMIT:
            self.recompile_limit_hit = True
        elif name == semconv.EVENT_CUDAGRAPH:
            self._kinds.add("capture")

    def compile_id(self, compile_id: str | None) -> None:
        """Note one of Dynamo's compile ids."""
        if compile_id and len(self.compile_ids) < MAX_COMPILE_IDS:
            self.compile_ids.append(compile_id)

    def adopted(
        self, kind: Kind, outcome: Outcome, *, error_type: str | None, is_encoder: bool
    ) -> None:
        """Count a compile that ended inside."""
        self._kinds.add(kind)
        self.error_type = error_type or self.error_type
        self._outcomes.add(outcome)
        self._components.add(is_encoder)

    def columns(self) -> dict[str, Any]:
        """Return the fields of a `CompileRecord` that are counted here."""
        return {
            "graphs": self.graphs,
            "cache_hits": self._cache["hit"],
            "cache_misses": self._cache["miss"],
            "cache_bypasses": self._cache["bypass"],
            "cache_result": self.cache_result,
            "is_recompile": self.is_recompile,
            "recompile_reason": self.recompile_reason,
            "graph_breaks": tuple(self.graph_breaks),
            "compile_ids": tuple(self.compile_ids),
            "recompile_limit_hit": self.recompile_limit_hit,
            "events": tuple(self.events),
        }

    @property
    def cache_result(self) -> CacheResult | None:
        """The one result of all graphs, ``mixed`` for several, ``None`` without a cache."""
        results: tuple[CacheResult, ...] = ("hit", "miss", "bypass")
        seen = [result for result in results if self._cache[result]]
        if len(seen) > 1:
            return "mixed"
        return seen[0] if seen else None

    @property
    def kind(self) -> Kind:
        """What an explicit block was, from what was seen in it."""
        kinds: tuple[Kind, ...] = ("compile", "load", "capture")
        for kind in kinds:
            if kind in self._kinds:
                return kind
        return "empty"

    @property
    def outcome(self) -> Outcome:
        """What an explicit block came to that no exception left.

        One compile that went well makes it ``ok``; a failure that the block itself dealt with
        shows only where nothing went well.
        """
        if self._outcomes <= {"ok"} or "ok" in self._outcomes:
            return "ok"
        return "failed" if "failed" in self._outcomes else "skipped"

    @property
    def all_encoder(self) -> bool:
        """Whether all compiles inside were an encoder's (and there was one)."""
        return self._components == {True}


def _brief(value: AttributeValue) -> AttributeValue:
    return value[:_MAX_TEXT] if isinstance(value, str) else value
