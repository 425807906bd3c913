"""What a job's followers get, whenever they come."""

from __future__ import annotations

import asyncio
import threading

from pydantic import BaseModel

from compilespan_service.warmups import feed as feeds
from compilespan_service.warmups.feed import Feed


class Told(BaseModel):
    text: str = ""


def feed_of(*texts, closed=True):
    feed = Feed(lambda: Told(text="snapshot"))
    for text in texts:
        feed.put("item", Told(text=text))
    if closed:
        feed.close()
    return feed


async def collect(feed, after=0, heartbeat_s=5.0):
    return [event async for event in feed.follow(after, heartbeat_s)]


def ids(events):
    return [event.id for event in events]


def test_events_have_ids_and_come_in_order():
    events = asyncio.run(collect(feed_of("a", "b", "c")))
    assert ids(events) == [1, 2, 3]
    assert [Told.model_validate_json(event.data).text for event in events] == ["a", "b", "c"]


def test_it_resumes_after_an_id():
    assert ids(asyncio.run(collect(feed_of("a", "b", "c"), after=2))) == [3]


def test_after_the_close_nothing_is_taken():
    feed = feed_of("a")
    feed.put("item", Told())
    assert feed.last_id == 1


def test_what_is_not_kept_any_more_is_a_snapshot(monkeypatch):
    monkeypatch.setattr(feeds, "MAX_EVENTS", 3)
    feed = Feed(lambda: Told(text="snapshot"))
    for index in range(10):
        feed.put("item", Told(text=str(index)))
    feed.close()
    events = asyncio.run(collect(feed, after=2))
    assert (events[0].name, events[0].id) == ("job", 7)
    assert Told.model_validate_json(events[0].data).text == "snapshot"
    assert ids(events[1:]) == [8, 9, 10]


def test_a_heartbeat_comes_while_nothing_happens_and_events_come_at_once():
    async def run():
        feed = feed_of("a", closed=False)
        later = threading.Timer(0.3, lambda: (feed.put("item", Told()), feed.close()))
        later.start()
        return [event and event.id async for event in feed.follow(0, 0.1)]

    got = asyncio.run(run())
    assert got[0] == 1
    assert got[-1] == 2
    assert 1 <= got.count(None) <= 4


def test_a_follower_that_goes_away_is_forgotten():
    async def run():
        feed = feed_of("a", closed=False)
        following = feed.follow(0, 5)
        await anext(following)
        assert len(feed._followers) == 1
        await following.aclose()
        assert not feed._followers

    asyncio.run(run())
