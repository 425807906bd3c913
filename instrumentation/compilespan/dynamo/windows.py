"""Windows of compiles, opened and closed together with Dynamo's metrics context."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from compilespan import semconv
from compilespan.dynamo import breaks, frames
from compilespan.dynamo.opening import Open, Opener, begins_compile
from compilespan.dynamo.owners import Forward, OwnerMemory
from compilespan.dynamo.watch import compiled_code_watch
from compilespan.ledger.reasons import limit_advice, reason_class
from compilespan.monitor.surroundings import current_adopter
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from compilespan.components.chain import ComponentNames
    from compilespan.dynamo.graphs import GraphWatch
    from compilespan.monitor.monitor import Monitor
    from compilespan.semconv import Outcome


class Windows(threading.local):
    """The windows that are open in this thread, innermost last."""

    def __init__(self, names: ComponentNames, owners: OwnerMemory, graphs: GraphWatch) -> None:
        self._opener = Opener(names, owners, graphs)
        self.backwards = self._opener.backwards
        self._owners = owners
        self._graphs = graphs
        self._open: list[Open | None] = []
        self._explanation: breaks.Attributes | None = None

    def enter(self, metrics: Any) -> None:
        """Open a window before a metrics context is entered; each call is paired with `leave`."""
        self.discard_stale(metrics)
        self._open.append(None)
        with contained("open the window of a compile"):
            frame = frames.caller()
            if len(self._open) > 1 and not begins_compile(frame):
                return  # a backend entered it again within the same compile
            opened = self._opener.open(frame, metrics)
            # Stored before it is entered, so that it can be closed after an interrupt.
            self._open[-1] = opened
            opened.window.__enter__()
            self._remember(opened)

    def leave(self, error: BaseException | None) -> None:
        """Leave the innermost window; ``error`` is the exception that ended the compile, if any.

        Can be called again if an interrupt stopped it halfway, since the window is removed last.
        """
        if self._open and (opened := self._open[-1]) is not None:
            self._close(opened, error)
        if len(self._open) == 1:
            self._graphs.clear()  # graphs that an interrupt left open
            self._explanation = None
        del self._open[-1:]

    def are_entered(self, metrics: Any) -> bool:
        """Whether torch's metrics context is nested as deep as the open windows of this thread."""
        level = getattr(metrics, "_level", None)
        return bool(self._open) and level == len(self._open)

    def discard_stale(self, metrics: Any) -> None:
        """Discard windows that were never left: after an interrupt, or because torch did not enter.

        Args:
            metrics: The metrics context of this thread, which counts how deep it is nested.
        """
        level = getattr(metrics, "_level", None)
        while isinstance(level, int) and len(self._open) > level:
            if (stale := self._open[-1]) is not None:
                stale.window.discard()
            del self._open[-1:]

    def _close(self, opened: Open, error: BaseException | None) -> None:
        outcome: Outcome = "failed" if error is not None else "ok"
        skip_reason: str | None = None
        try:
            with contained("find out how a compile ended"):
                outcome, skip_reason = self._conclude(opened, error)
            self._graphs.seen = opened.graphs_before  # an outer compile does not count nested ones
        finally:
            opened.window.close(
                outcome=outcome,
                error=error if outcome == "failed" else None,
                skip_reason=skip_reason,
            )

    def captured(self, graph_module: Any) -> bool:
        """Whether a graph that Dynamo passes to its "backend" is only captured for later.

        An ahead-of-time compile captures first and calls the real backend afterwards, outside
        Dynamo's frame. Its graph is reported then, or at the end if AOTAutograd saw none.
        """
        opened = self._open[-1] if self._open else None
        if opened is None or opened.trigger not in ("aot_compile", "export"):
            return False
        opened.own_graph = self._graphs.begin(graph_module)
        return True

    def explained(self, error: BaseException) -> None:
        """Keep the explanation of ``error``, for which Dynamo is about to break a graph.

        Dynamo's own reason has no explanation for jumps and steps that it cannot trace.
        """
        self._explanation = breaks.attributes_of_error(error)

    def broke(self, reason: Any) -> None:
        """Record that Dynamo broke a graph; it continues after the break."""
        explanation, self._explanation = self._explanation, None
        attributes = breaks.attributes_of_reason(reason)
        if explanation and semconv.GRAPH_BREAK_LINK not in attributes:
            attributes = explanation
        if self._open and (opened := self._open[-1]) is not None:
            opened.last_break = str(attributes[semconv.GRAPH_BREAK_REASON])
        monitor = current_adopter()
        if monitor is not None:
            monitor.add_event(semconv.EVENT_GRAPH_BREAK, attributes)

    def announced(self) -> None:
        """Record a recompile: its reason is set by the time Dynamo announces the compile."""
        opened = self._open[-1] if self._open else None
        if opened is not None and opened.is_recompile:
            opened.is_recompile = False  # reported once
            reason = str(_metric(opened.metrics, "recompile_reason") or "compiled after a reset")
            _add_event(opened.window.monitor, semconv.EVENT_RECOMPILE, reason)

    def _remember(self, opened: Open) -> None:
        monitor = opened.window.monitor
        if opened.frame is not None:
            self._owners.remember(Forward(monitor.unit, monitor.component))

    def _conclude(self, opened: Open, error: BaseException | None) -> tuple[Outcome, str | None]:
        if opened.own_graph is not None:
            seen = self._graphs.seen != opened.graphs_before
            self._graphs.end(opened.own_graph, report=not seen)
        if error is not None:
            return self._conclude_error(opened, error)
        owner = opened.owner()
        if owner is not None and opened.frame is not None:
            self._owners.compiled(owner, opened.frame)
        graphs = self._graphs.seen - opened.graphs_before
        has_graph = bool(graphs or _metric(opened.metrics, "graph_op_count"))
        if opened.frame is not None:
            compiled_code_watch.compiled(has_graph=has_graph)
        if opened.frame is not None and not has_graph:
            made = frames.locals_of(frames.caller()).get("guarded_code")
            return "skipped", opened.last_break or breaks.skip_reason_of(made)
        return "ok", None

    def _conclude_error(self, opened: Open, error: BaseException) -> tuple[Outcome, str | None]:
        monitor = opened.window.monitor
        if reason := breaks.refused_recompile(error):
            if opened.is_recompile:  # else it is another instance's first compile
                _add_event(monitor, semconv.EVENT_RECOMPILE, reason)
            return "failed", None
        given_back = opened.frame is not None and breaks.gives_back(
            error, one_graph=opened.one_graph
        )
        if breaks.is_over_the_limit(error) and opened.frame is not None:
            reason = str(_metric(opened.metrics, "recompile_reason") or "")
            _add_event(monitor, semconv.EVENT_RECOMPILE_LIMIT, reason)
            return ("skipped", limit_advice(reason)) if given_back else ("failed", None)
        if not given_back:
            return "failed", None
        attributes = breaks.attributes_of_error(error)
        reason = str(attributes[semconv.GRAPH_BREAK_REASON])
        if reason != opened.last_break:  # Dynamo may break the graph first and then skip the frame
            monitor.add_event(semconv.EVENT_GRAPH_BREAK, attributes)
        return "skipped", reason


def _add_event(monitor: Monitor, event: str, reason: str) -> None:
    monitor.add_event(
        event,
        {semconv.RECOMPILE_REASON: reason, semconv.RECOMPILE_REASON_CLASS: reason_class(reason)},
    )


def _metric(metrics: Any, name: str) -> Any:
    return (getattr(metrics, "_metrics", None) or {}).get(name)
