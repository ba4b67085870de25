"""What the frames of Deliver and Watch mean, free of any stream."""

from datetime import UTC, datetime

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from pixied.v1 import message_pb2, operations_pb2, watch_pb2
from pixied_client import Draining, Event, EventKind, Gap, Message, Messages
from pixied_client.feeds import DeliverFeed, WatchFeed

_CLOSING = message_pb2.Closing(reason="as planned", reconnect_after_ms=1_500)
_MESSAGE = message_pb2.Message(channel="/a", data="1", id="7")
_GAP = message_pb2.Gap(channel="/b", lost=2)


@pytest.fixture
def feed() -> DeliverFeed:
    return DeliverFeed("ann", explicit=False, ack_cursor="")


def test_a_frame_of_messages(feed: DeliverFeed) -> None:
    """All of it is one item."""
    frame = operations_pb2.DeliverResponse(messages=[_MESSAGE], cursor="9", redelivered=1, lost=2, gaps=[_GAP])
    assert feed.take(frame) == [Messages((Message("/a", "1", "7"),), "9", 1, 2, (Gap("/b", 2),))]
    assert feed.ending is None


def test_an_empty_frame_says_that_the_stream_stands(feed: DeliverFeed) -> None:
    """It is an item too."""
    assert feed.take(operations_pb2.DeliverResponse()) == [Messages((), "", 0, 0, ())]


def test_the_last_frame_is_an_item_only_if_it_brings_something(feed: DeliverFeed) -> None:
    """It says why the stream ends, and when to come back."""
    assert feed.take(operations_pb2.DeliverResponse(closing=_CLOSING)) == []
    ending = feed.ending
    assert type(ending) is Draining
    assert (str(ending), ending.code, ending.retry_after) == ("as planned", grpc.StatusCode.UNAVAILABLE, 1.5)
    assert len(feed.take(operations_pb2.DeliverResponse(closing=_CLOSING, gaps=[_GAP]))) == 1
    assert len(feed.take(operations_pb2.DeliverResponse(closing=_CLOSING, messages=[_MESSAGE]))) == 1


def test_events() -> None:
    """Each says all that is known of it."""
    event = watch_pb2.Event(
        at=Timestamp(seconds=5),
        kind=watch_pb2.EVENT_KIND_PUBLISHED,
        client_id="ann",
        channel="/a",
        reason="r",
        message_id="7",
        recipients=3,
        front_end="f",
    )
    assert WatchFeed((), "", "").take(watch_pb2.WatchResponse(events=[event])) == [
        Event(datetime.fromtimestamp(5, UTC), EventKind.PUBLISHED, "ann", "/a", "r", "7", 3, "f", 0)
    ]


def test_missed_events_are_announced_with_the_next_one() -> None:
    """Those of frames without an event add up until there is one, and are announced once."""
    feed = WatchFeed((), "", "")
    event = watch_pb2.Event(kind=watch_pb2.EVENT_KIND_PUBLISHED)
    frames = [(0, 1), (3, 0), (4, 0), (2, 2), (0, 1), (1, 1)]
    missed = [
        [one.missed for one in feed.take(watch_pb2.WatchResponse(events=[event] * events, missed=missed))]
        for missed, events in frames
    ]
    assert missed == [[0], [], [], [9, 0], [0], [1]]
