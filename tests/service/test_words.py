"""A start and the shared compile cache in words."""

from __future__ import annotations

import pytest

from compilespan import get_ledger
from compilespan.ledger.cache_use import CacheUse
from compilespan.ledger.entries import Mark
from compilespan.ledger.segments import Doer
from compilespan.ledger.start import Start
from compilespan_service.reporters.words import cache_line, start_line
from compilespan_service.warmups.waiting import Waiting, awaited_replica

pytestmark = pytest.mark.quick
SECOND = 10**9


def start_of(*marks):
    return Start.of(0, 10 * SECOND, [Doer(marks, {})])


def test_a_start_says_for_whom_it_waited():
    request = Mark("wait", SECOND, 2 * SECOND, "POST /warmup")
    replica = Mark("wait", 4 * SECOND, 7 * SECOND, "pod-3:1")
    assert start_line(start_of(request), 200) == "waiting for POST /warmup 1.00 s · other 9.00 s"
    both = start_line(start_of(request, replica), 200)
    assert both == "waiting for POST /warmup and pod-3:1 4.00 s · other 6.00 s"
    assert start_line(start_of(replica._replace(name=None)), 200).startswith("waiting 3.00 s")


def test_the_cache_says_what_it_saved_and_cost():
    use = CacheUse(
        fetched_files=30,
        fetched_graphs=3,
        used_graphs=2,
        published_files=4,
        saved_s=38.0,
        fetch_s=0.4,
        wait_s=41.0,
        publish_s=1.2,
        quarantined=1,
    )
    assert cache_line(use, 200) == (
        "shared cache: 2 of 3 graphs used, saved 38.0 s, fetched in 0.4 s, waited 41.0 s, "
        "published 4 files in 1.20 s, 1 put into quarantine"
    ).replace("0.4 s", "0.400 s")
    assert cache_line(CacheUse(published_files=4, publish_s=1.2), 200) == (
        "shared cache: published 4 files in 1.20 s"
    )
    assert cache_line(CacheUse(), 200) == ""


def test_who_waits_says_for_which_replica():
    assert awaited_replica() is None
    waiting = Waiting()
    waiting.begin()
    assert awaited_replica() is None  # for a request, which is said elsewhere
    waiting.end()
    with get_ledger().readiness.doing("wait", "pod-3:1"):
        assert awaited_replica() == "waiting for pod-3:1, 0 s"
    assert awaited_replica() is None
