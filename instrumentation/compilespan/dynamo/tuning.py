"""Autotuning of a kernel: one record for all configurations that are tried."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from compilespan.monitor.monitor import Monitor
from compilespan.monitor.surroundings import Surroundings
from compilespan.process.faults import contained

if TYPE_CHECKING:
    from collections.abc import Iterator

    from compilespan.monitor.unit import Unit


class Tunings(threading.local):
    """The open tunings of this thread, by the ``id`` of the autotuner."""

    def __init__(self) -> None:
        self._open: dict[int, _Tuning] = {}

    def begin(self, tuner: Any, configs: list[Any], unit: Unit) -> list[Any]:
        """Begin a tuning; return its configurations, a list that ends the tuning when freed."""
        tuning = _Tuning(unit, len(configs))
        self._open[id(tuner)] = tuning
        return _Configs(configs, tuning)

    def of(self, tuner: Any) -> _Tuning | None:
        """Return the open tuning of ``tuner``; ``None`` if it has none."""
        tuning = self._open.get(id(tuner))
        if tuning is not None and tuning.is_over:
            del self._open[id(tuner)]
            return None
        return tuning


class _Configs(list[Any]):
    """The configurations of a tuning, kept alive by the frame that tries them.

    So an exception between two tries or an early stop ends the tuning, too.
    """

    def __init__(self, configs: list[Any], tuning: _Tuning) -> None:
        super().__init__(configs)
        self._tuning = tuning

    def __del__(self) -> None:
        self._tuning.close()


class _Tuning:
    """One record for the configurations of a kernel, which are tried one after another."""

    def __init__(self, unit: Unit, count: int) -> None:
        self._left = count
        self._monitor = Monitor(unit)
        self._surroundings = Surroundings(adopter=self._monitor)
        self._is_open = False

    @property
    def is_over(self) -> bool:
        """Whether no configuration is left to try."""
        return self._left <= 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Surround one try; between two tries the context is as it was."""
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
        """End the tuning, once. A configuration that Triton cannot build is not a failure."""
        self._left = 0
        if self._is_open:
            self._is_open = False
            self._monitor.close("ok" if error is None else "failed", error)
