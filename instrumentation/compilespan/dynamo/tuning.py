"""A kernel that is tuned: its configurations are tried one after another, in one record."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from compilespan.faults import contained
from compilespan.monitor.monitor import Monitor
from compilespan.monitor.surroundings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compilespan.monitor.unit import Unit


class Tunings(threading.local):
    """What is being tuned in this thread, by the id of what tunes it."""

    def __init__(self) -> None:
        self._open: dict[int, _Tuning] = {}

    def begin(self, tuner: Any, configs: list[Any], unit: Unit) -> list[Any]:
        """Return the configurations, as a list that ends the tuning when nobody keeps it."""
        tuning = _Tuning(unit, len(configs))
        self._open[id(tuner)] = tuning
        return _Configs(configs, tuning)

    def of(self, tuner: Any) -> _Tuning | None:
        """Return what is being tuned, if it has not come to its end."""
        tuning = self._open.get(id(tuner))
        if tuning is not None and tuning.is_over:
            del self._open[id(tuner)]
            return None
        return tuning


class _Configs(list[Any]):
    """The configurations of a kernel that are tried; the frame that tries them keeps them.

    So an exception between two tries, and whoever stops early, end the tuning, too.
    """

    def __init__(self, configs: list[Any], tuning: _Tuning) -> None:
        super().__init__(configs)
        self._tuning = tuning

    def __del__(self) -> None:
        self._tuning.close()


class _Tuning:
    """Tries configurations of one kernel, one after another: one record for all of them."""

    def __init__(self, unit: Unit, count: int) -> None:
        self._left = count
        self._monitor = Monitor(unit)
        self._surroundings = Surroundings(adopter=self._monitor)
        self._is_open = False

    @property
    def is_over(self) -> bool:
        """Whether there is nothing left to try."""
        return self._left <= 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Surround one try; between two of them nothing is changed in the context."""
        with contained("begin to try a configuration of a kernel"):
            if not self._is_open:
                self._is_open = True
                self._monitor.open()
        self._left -= 1
        try:
            with (
                self._surroundings.again(),
                trace.use_span(
                    self._monitor.span, record_exception=False, set_status_on_exception=False
                ),
            ):
                yield
        except BaseException as error:
            self._left = 0
            self.close(error)
            raise
        if self._left <= 0:
            self.close()

    def close(self, error: BaseException | None = None) -> None:
        """End it, once; that single configurations cannot be built is no failure."""
        self._left = 0
        if self._is_open:
            self._is_open = False
            self._monitor.close("ok" if error is None else "failed", error)
