"""Counts calls of compiled code during a verify pass, and at no other time (rule 7)."""

from __future__ import annotations

import functools
from collections import deque
from typing import TYPE_CHECKING, Any

import wrapt

from compilespan.dynamo import private
from compilespan.dynamo.guards import GuardHook
from compilespan.monitor.counts import Counts
from compilespan.monitor.surroundings import Surroundings, surroundings_here
from compilespan.process import fork_safe_lock
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

# Artefacts are called without Dynamo's guards, so its guard hook does not see these calls.
_MAX_UNSEEN = 64
_ARTEFACT_CALLS = (private.AOT_CALL, private.AOTI_CALL, private.STANDALONE_CALL)


class CompiledCodeWatch:
    """Counts calls of compiled code in their surroundings.

    One per process: the first watcher installs the hooks, the last one removes them. Counts go to
    the surroundings of the calling context, so concurrent watchers do not mix.
    """

    def __init__(self) -> None:
        self._lock = fork_safe_lock()
        self._watchers = 0
        self._hook = GuardHook()
        self._patched: list[tuple[Any, str, Any, Any]] = []
        self.unseen: deque[str] = deque(maxlen=_MAX_UNSEEN)
        """Names of artefacts loaded in this process whose calls cannot be seen."""
        self._has_graph = self._is_graphless = False

    def compiled(self, *, has_graph: bool) -> None:
        """Note that Dynamo compiled a frame, with or without a graph."""
        if has_graph:
            self._has_graph = True
        else:
            self._is_graphless = True

    @property
    def knows_no_graph(self) -> bool:
        """Whether Dynamo compiled frames here but no graph; code without a graph has guards, too.

        Code that was compiled before instrumentation may have graphs.
        """
        return self._is_graphless and not self._has_graph

    def __enter__(self) -> Self:
        """Start watching."""
        with self._lock:
            try:
                if self._watchers == 0:
                    self._hook.install()
                    with contained("watch the calls of artefacts"):
                        self._patch()
                self._watchers += 1
            except BaseException:  # an interrupt
                if self._watchers == 0:
                    self._remove()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching."""
        with self._lock:
            try:
                if self._watchers == 1:
                    self._remove()
            except BaseException:  # an interrupt
                self._remove()
                raise
            finally:
                self._watchers -= 1

    def _remove(self) -> None:
        self._hook.remove()
        while self._patched:
            parent, attribute, original, ours = self._patched[-1]
            if vars(parent).get(attribute) is ours:
                setattr(parent, attribute, original)
            del self._patched[-1]

    @property
    def sees_guards(self) -> bool:
        """Whether this version of torch reports guarded calls."""
        return self._hook.install_function() is not None

    def _patch(self) -> None:
        skip_code = private.SKIP_CODE.found()
        for call in _ARTEFACT_CALLS:
            if (original := call.found()) is None:
                continue
            parent, attribute, _ = wrapt.resolve_path(call.module, call.path)
            ours = _counted(original)
            if skip_code is not None:  # else Dynamo compiles ours inside compiled functions
                skip_code(ours.__code__)
            self._patched.append((parent, attribute, original, ours))
            setattr(parent, attribute, ours)


def _counted(original: Callable[..., Any]) -> Any:
    nobody = Surroundings(counts=Counts())

    @functools.wraps(original)
    def call(artefact: Any, *args: Any, **kwargs: Any) -> Any:
        next(surroundings_here(nobody).counts.seen.hits)
        return original(artefact, *args, **kwargs)

    return call


compiled_code_watch = CompiledCodeWatch()
"""The watch of this process."""
