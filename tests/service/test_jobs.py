"""A job's states are one table."""

from __future__ import annotations

import itertools
from typing import get_args

import pytest

from compilespan_service.schemas import JobState, WarmupRequest
from compilespan_service.warmups.book import JobBook
from compilespan_service.warmups.job import ENDED, TRANSITIONS, IllegalTransitionError, Job

STATES = get_args(JobState)


def path_to(state):
    """Return how a job gets from queued to a state."""
    paths = [["queued"]]
    for path in paths:
        if path[-1] == state:
            return path[1:]
        paths += [
            [*path, following] for following in TRANSITIONS[path[-1]] if following not in path
        ]
    raise AssertionError(f"no way to {state}")


@pytest.mark.parametrize(("origin", "goal"), list(itertools.product(STATES, STATES)))
def test_a_job_goes_where_the_table_allows_and_nowhere_else(origin, goal):
    job = Job(WarmupRequest())
    for state in path_to(origin):
        job.go(state)
    if goal in TRANSITIONS[origin]:
        job.go(goal)
        assert job.state == goal
        assert job.over.done() == (goal in ENDED)
    else:
        with pytest.raises(IllegalTransitionError, match=f"cannot go from {origin} to {goal}"):
            job.go(goal)
        assert job.state == origin


def test_the_table_knows_every_state_and_what_ends():
    assert set(TRANSITIONS) == set(STATES)
    assert {"succeeded", "failed", "timed_out", "cancelled"} == ENDED


def test_the_clock_of_a_job_stops_at_its_end():
    job = Job(WarmupRequest())
    assert (job.elapsed_s, job.schema().started_at) == (0.0, None)
    job.go("running")
    job.go("succeeded")
    first = job.schema()
    assert first.ended_at >= first.started_at >= first.created_at
    assert job.schema().elapsed_s == first.elapsed_s >= 0


def test_metrics_that_fail_cost_no_job_its_end():
    def failing(*_):
        raise TypeError

    book, job = JobBook(), Job(WarmupRequest())
    book.on_end = failing
    book.add(job)
    book.end(job, "cancelled", "by hand")
    assert (book.find(job.id).state, book.running) == ("cancelled", None)
