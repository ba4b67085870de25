"""Calls and streams on a channel of the program's own, which notes what comes over it; and what closing means."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, cast

import grpc
import pytest

from pixied.v1 import operations_pb2, watch_pb2
from pixied.v1.message_pb2 import ACK_MODE_AUTO, ACK_MODE_EXPLICIT
from pixied_client import Admin, Backend, EventKind, FrontEnd, Unavailable, sync


class Channel:
    """A channel, asynchronous or blocking, that answers everything with nothing.

    Attributes:
        asked: the requests, decoded by no one.
        timeouts: the seconds that each call was given.
        closed: whether it was closed.
    """

    def __init__(self, *, blocking: bool = False) -> None:
        self.asked: list[Any] = []
        self.timeouts: list[float] = []
        self.closed = False
        self._blocking = blocking

    def unary_unary(self, path: str, *, response_deserializer: Callable[[bytes], Any], **_: Any) -> Callable[..., Any]:
        """Give what carries calls out."""
        del path

        def send(request: Any, timeout: float) -> Any:
            self.asked.append(request)
            self.timeouts.append(timeout)
            answer = response_deserializer(b"")
            return answer if self._blocking else _given(answer)

        return send

    def unary_stream(self, path: str, **_: Any) -> Callable[[Any], "Channel"]:
        """Give what opens a stream."""
        del path

        def open_stream(request: Any) -> Channel:
            self.asked.append(request)
            return self

        return open_stream

    def cancel(self) -> None:
        """End a stream."""

    def close(self) -> Any:
        """Close it."""
        self.closed = True
        return None if self._blocking else _given(None)


async def _given(answer: Any) -> Any:
    return answer


def backends() -> Iterator[tuple[Channel, Any]]:
    """Both faces, each on a channel of its own."""
    ours = Channel()
    yield ours, Backend(channel=cast("grpc.aio.Channel", ours), clock=lambda: 100.0)
    ours = Channel(blocking=True)
    yield ours, sync.Backend(channel=cast("grpc.Channel", ours), clock=lambda: 100.0)


async def _done(answer: Any) -> Any:
    return await answer if asyncio.iscoroutine(answer) else answer


async def test_a_call_has_ten_seconds() -> None:
    """Unless it is given others; a long poll has its wait besides."""
    for channel, backend in backends():
        await _done(backend.subscribed_to("ann"))
        await _done(backend.dequeue_for("ann", wait=5))
        assert channel.timeouts == [10.0, 15.0]
    channel = Channel()
    await Admin(channel=cast("grpc.aio.Channel", channel), timeout=3.0, clock=lambda: 0.0).get_info()
    assert channel.timeouts == [3.0]


async def test_what_a_stream_asks_for() -> None:
    """What it was given, by either face."""
    for channel, backend in backends():
        backend.deliver("ann")
        backend.deliver("ann", explicit=True, ack_cursor="7")
        backend.watch()
        backend.watch([EventKind.PUBLISHED], "/a", "ann")
        published = watch_pb2.EVENT_KIND_PUBLISHED
        assert channel.asked == [
            operations_pb2.DeliverRequest(client_id="ann", ack_mode=ACK_MODE_AUTO),
            operations_pb2.DeliverRequest(client_id="ann", ack_mode=ACK_MODE_EXPLICIT, ack_cursor="7"),
            watch_pb2.WatchRequest(),
            watch_pb2.WatchRequest(kinds=[published], channel_pattern="/a", client_id="ann"),
        ]


async def test_a_channel_of_ones_own_stays_open() -> None:
    """Whoever made it closes it."""
    ours = Channel()
    async with Backend(channel=cast("grpc.aio.Channel", ours)) as backend:
        pass
    await backend.subscribed_to("ann")
    theirs = Channel(blocking=True)
    with sync.Backend(channel=cast("grpc.Channel", theirs)) as blocking:
        pass
    blocking.subscribed_to("ann")
    assert (ours.closed, theirs.closed) == (False, False)


async def test_a_channel_that_was_not_handed_in_is_closed() -> None:
    """At the end of the context: calls fail at once after that, and say which connection is closed."""
    text = "^the connection to pixied at unix:///nowhere was closed here$"
    async with Backend("unix:///nowhere") as backend:
        pass
    with pytest.raises(Unavailable, match=text):
        await backend.subscribed_to("ann")
    with sync.Backend("unix:///nowhere") as blocking:
        pass
    with pytest.raises(Unavailable, match=text):
        blocking.subscribed_to("ann")


async def test_a_front_ends_own_channel_is_closed_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was handed in is not."""
    closed: list[grpc.aio.Channel] = []
    channel = grpc.aio.insecure_channel("unix:///nowhere")
    close = type(channel).close

    async def note(self: Any, grace: float | None = None) -> None:
        closed.append(self)
        await close(self, grace)

    monkeypatch.setattr(type(channel), "close", note)
    async with FrontEnd("unix:///nowhere", channel=channel):
        pass
    assert closed == []
    async with FrontEnd("unix:///nowhere") as front_end:
        pass
    assert len(closed) == 1
    assert front_end.connected is False
    await channel.close()


def test_a_front_end_stands_not_before_it_is_used() -> None:
    """Its streams are opened by `async with`."""

    async def made() -> None:
        front_end = FrontEnd("unix:///nowhere")
        assert front_end.connected is False
        assert dict(front_end.attachments) == {}

    asyncio.run(made())
