"""When this process began, what it did until it was ready to serve, and when it was ready."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from compilespan import semconv
from compilespan.ledger.entries import Mark, Ready
from compilespan.process import IMPORTED_NS, epoch_ns, fork_safe_lock, now_ns, process_age_ns
from compilespan.process.faults import contained
from compilespan.process.imports import ImportTimer, import_timer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from compilespan.semconv import Part, Phase

MAX_MARKS = 1024


class Readiness:
    """The start of this process: its parts, and the moment when it was declared ready."""

    def __init__(
        self, publish: Callable[[Mark | Ready], object], before: Phase = "startup"
    ) -> None:
        """Begin at the creation of the process.

        Args:
            publish: Called with each mark that ends, and with `Ready`.
            before: The phase until the process is ready.
        """
        self.since_ns = now_ns() - process_age_ns()
        """When the process was created, in nanoseconds since the epoch."""
        self.before: Phase = before
        """The phase until the process is ready; ``warmup`` in vLLM and SGLang."""
        self.on_ready: Callable[[], object] | None = None
        """Called once, when the process is declared ready."""
        self.ready: Ready | None = None
        self._publish = publish
        self._lock = fork_safe_lock()
        self._marks: list[Mark] = []
        self._open: dict[int, Mark] = {}
        self._times_imports = False
        self._timer: ImportTimer | None = None

    @property
    def phase(self) -> Phase:
        """The phase of a compile that begins now, unless its surroundings set another one."""
        return "serving" if self.ready else self.before

    @property
    def after_s(self) -> float | None:
        """Seconds from the start of the process until it was ready; ``None`` before."""
        return self.ready.after_s if self.ready else None

    @property
    def ready_ns(self) -> int | None:
        """When it was ready, in nanoseconds since the epoch; ``None`` before."""
        return self.since_ns + round(self.ready.after_s * 1e9) if self.ready else None

    @property
    def marks(self) -> list[Mark]:
        """Activities before the process was ready: the first 1024, and those in progress."""
        with self._lock:
            marks = [*self._marks, *self._open.values()]
            imports = self._timer.going_on if self._timer is not None and not self.ready else []
        return marks + [
            Mark("import", epoch_ns(began_ns), None, package, thread_id)
            for package, began_ns, thread_id in imports
        ]

    @property
    def marks_ended(self) -> list[Mark]:
        """The marks that have ended."""
        with self._lock:
            return list(self._marks)

    def note(self, mark: Mark) -> None:
        """Record a mark that ended; ignored once the process is ready."""
        if mark.name is not None:
            mark = mark._replace(name=semconv.name(mark.name))
        with self._lock:
            if self.ready is not None or len(self._marks) >= MAX_MARKS:
                return
            self._marks.append(mark)
        self._publish(mark)

    @contextmanager
    def doing(self, part: Part, name: str | None = None) -> Iterator[None]:
        """Record a block of this thread as a mark."""
        began = self.begin(part, name)
        try:
            yield
        finally:
            self.end(began)

    def begin(self, part: Part, name: str | None = None) -> Mark:
        """Begin a mark and return it, for `end`."""
        mark = Mark(part, now_ns(), None, name, threading.get_ident())
        with self._lock:
            if self.ready is None:
                self._open[id(mark)] = mark
        return mark

    def end(self, began: Mark) -> None:
        """End a mark that `begin` returned; later calls do nothing."""
        with self._lock:
            known = self._open.pop(id(began), None)
        if known is not None:
            self.note(known._replace(end_ns=now_ns()))

    def time_imports(self, server: str | None = None) -> None:
        """Record imports from now on, and those that an earlier timer recorded.

        The time before compilespan or its timer was imported counts as ``boot``.

        Args:
            server: If given, the server that loaded us as a plugin: that time counts as its
                import.
        """
        with contained("time imports"), self._lock:
            if self.ready is not None or self._times_imports:
                return
            self._times_imports = True
            timer = self._timer = import_timer()
            # In a forked child these are the parent's imports, which ended before its start.
            seen, timer.note = list(timer.kept), self._imported
            timer.begin()
            looked_ns = epoch_ns(min(timer.began_ns, IMPORTED_NS))
        part: Part = "boot" if server is None else "import"
        self.note(Mark(part, self.since_ns, max(self.since_ns, looked_ns), server))
        for each in seen:
            self._imported(*each)

    def _imported(self, package: str, began_ns: int, ended_ns: int, thread_id: int) -> None:
        with contained("note an import"):
            began, ended = epoch_ns(began_ns), epoch_ns(ended_ns)
            self.note(Mark("import", began, ended, package, thread_id))

    def mark(self, *, by_program: bool) -> Ready | None:
        """Declare the process ready; return ``None`` if it already was."""
        with self._lock:
            if self.ready:
                return None
            going_on = list(self._open.values())
        for mark in going_on:
            self.end(mark)
        with self._lock:
            if self.ready:
                return None
            self.ready = Ready(now_ns(), process_age_ns() / 1e9, by_program=by_program)
        with contained("stop timing imports"):
            import_timer().end()
        self._publish(self.ready)
        if self.on_ready is not None:
            with contained("end the span of the start"):
                self.on_ready()
        return self.ready
