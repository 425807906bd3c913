"""The one place where records are added."""

from __future__ import annotations

import threading
import time

import pytest

from compilespan import get_ledger, mark_ready
from compilespan.ledger.active import CompileBegun
from support import record


def add(ledger, **changes):
    key = ledger.prepare()
    ledger.begin(CompileBegun(key, "a", "other", 1, 1))
    ledger.end(key, record(**changes))


def test_the_last_4096_records_are_kept_and_all_are_counted():
    ledger = get_ledger()
    for index in range(5000):
        add(ledger, start_ns=index * 10**10)
    assert len(ledger.records()) == 4096
    assert ledger.records()[-1].start_ns == 4999 * 10**10
    assert ledger.totals().total.compiles == 5000
    assert ledger.active.now() == ()


def test_subscribers_get_each_record_in_a_thread_of_their_own():
    ledger, got, done = get_ledger(), [], threading.Event()

    def callback(each):
        got.append((each.name, threading.current_thread() is threading.main_thread()))
        done.set()

    unsubscribe = ledger.subscribe(callback)
    add(ledger, name="x")
    assert done.wait(5)
    unsubscribe()
    add(ledger, name="y")
    assert got == [("x", False)]


def test_a_slow_subscriber_delays_nobody_and_what_it_loses_is_counted():
    ledger, go_on = get_ledger(), threading.Event()
    unsubscribe = ledger.subscribe(lambda _: go_on.wait(10))
    started = time.perf_counter()
    for _ in range(6000):
        add(ledger)
    assert time.perf_counter() - started < 5
    assert ledger.followers.dropped["subscription"] > 0
    go_on.set()
    unsubscribe()


def test_a_subscriber_that_raises_is_logged_once_and_goes_on(caplog):
    ledger, calls = get_ledger(), []

    def callback(each):
        calls.append(each)
        raise RuntimeError("mine")

    unsubscribe = ledger.subscribe(callback)
    add(ledger)
    add(ledger)
    unsubscribe()
    assert len(calls) == 2
    assert caplog.text.count("a callback failed") == 1


def test_ready_is_declared_once():
    ledger = get_ledger()
    readiness = ledger.readiness
    assert (readiness.phase, readiness.after_s) == ("startup", None)
    mark_ready()
    first = readiness.after_s
    mark_ready()
    assert readiness.phase == "serving"
    assert readiness.after_s == first > 0
    assert sum(get_ledger().start().parts_s.values()) == pytest.approx(first)


def test_the_age_of_the_process_comes_from_the_kernel():
    age_s = time.time() - get_ledger().readiness.since_ns / 1e9
    assert time.process_time() * 0.3 < age_s < 6 * 3600
