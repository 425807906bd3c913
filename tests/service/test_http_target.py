"""What an HttpTarget makes of its requests."""

from __future__ import annotations

import pytest

from compilespan_service.targets import HttpTarget, TargetsError, make_targets


@pytest.mark.parametrize(
    ("requests", "shapes"),
    [
        ([{"prompt": "Hi", "max_tokens": 4}], [{"prompt": "Hi", "max_tokens": 4}]),
        ([{"json": {"batch": 2, "x": [1]}}], [{"batch": 2}]),
        ([{"shape": {"tokens": 16}, "json": {"prompt": "x"}}], [{"tokens": 16}]),
        ([{"path": "/health", "method": "GET"}], [{"request": 1}]),
        ([{"a": 1}, {"a": 1}], [{"a": 1}, {"request": 2, "a": 1}]),
        ([{"prompt": "x" * 100}], [{"prompt": "x" * 48}]),
    ],
)
def test_a_request_has_a_shape(requests, shapes):
    (target,) = make_targets(lambda: [HttpTarget("a", "http://127.0.0.1:1", requests)])
    assert target.shapes == shapes


def test_one_target_needs_no_list():
    (target,) = make_targets(lambda: HttpTarget("a", "http://127.0.0.1:1", [{"a": 1}]))
    assert target.name == "a"


@pytest.mark.parametrize(
    ("url", "requests", "says"),
    [("localhost:8000", [{}], "must begin with http://"), ("http://x", [], "has no requests")],
)
def test_a_wrong_one_is_told(url, requests, says):
    with pytest.raises(ValueError, match=says):
        HttpTarget("a", url, requests)


def test_two_of_one_name_are_told():
    with pytest.raises(TargetsError, match="two targets are called 'a'"):
        make_targets(lambda: [HttpTarget("a", "http://x", [{"b": 1}]) for _ in range(2)])
