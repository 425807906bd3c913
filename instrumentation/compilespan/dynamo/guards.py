"""The hook that counts guarded calls of compiled code.

Dynamo calls one hook per process for each guarded frame: with ``True`` when it enters compiled
code, with ``False`` when no compiled code fits. An exception in the hook ends the process, and a
signal handler may raise in any Python function. So the hook consists of C functions only and
executes no bytecode.
"""

from __future__ import annotations

import itertools
import operator
from typing import TYPE_CHECKING, Any

from compilespan.dynamo.private import GUARD_HOOK
from compilespan.monitor.counts import Counts
from compilespan.monitor.surroundings import Surroundings, surroundings_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class GuardHook:
    """Installs the hook and restores the previous one."""

    def __init__(self) -> None:
        self._ours: Any = None
        self._theirs: Any = None

    @staticmethod
    def install_function() -> Callable[[Any], Any] | None:
        """Return torch's function that sets the hook and returns the previous one."""
        found: Callable[[Any], Any] | None = GUARD_HOOK.found()
        return found

    def install(self) -> None:
        """Start counting; a previous hook is still called, and its result is returned."""
        set_hook = self.install_function()
        if set_hook is None:
            return
        self._theirs = set_hook(None)
        try:
            self._ours = _counting(self._theirs)
            set_hook(self._ours)
        except BaseException:  # an interrupt
            set_hook(self._theirs)
            raise

    def remove(self) -> None:
        """Restore the previous hook, unless another one was installed meanwhile."""
        set_hook = self.install_function()
        if set_hook is not None and self._ours is not None:
            found = set_hook(self._theirs)
            if found is not self._ours and found is not self._theirs:
                set_hook(found)
        self._ours = self._theirs = None


def _counting(theirs: Any) -> Any:
    """Return a hook that counts calls and returns what ``theirs`` returns, else its argument."""
    answers = {hit: _answers(hit=hit, theirs=theirs) for hit in (True, False)}
    # Torch converts the returned object to a bool, which takes the next answer.
    truths = {
        hit: type("Answer", (), {"__bool__": answer.__next__})() for hit, answer in answers.items()
    }
    return truths.__getitem__


def _answers(*, hit: bool, theirs: Any) -> Iterator[bool]:
    """Yield the result of each call; taking a result counts the call."""
    nobody = Surroundings(counts=Counts())
    here = map(surroundings_here, itertools.repeat(nobody))
    counter = operator.attrgetter("counts.seen.hits" if hit else "counts.seen.misses")
    counts = map(next, map(counter, here))
    calls = itertools.repeat(hit)
    answers = calls if theirs is None else map(theirs, calls)
    return map(bool, map(operator.itemgetter(1), zip(counts, answers)))  # noqa: B905  # endless
