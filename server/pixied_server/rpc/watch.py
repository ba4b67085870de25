"""Watch: events for monitors."""

import asyncio

from pixied.v1 import watch_pb2 as wire
from pixied_server.admin import Drain
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.watch import Filter, Shown, Sighting, Watcher
from pixied_server.engine.abc import EventKind
from pixied_server.errors import FieldInvalid
from pixied_server.rpc.calls import decode, first_of
from pixied_server.rpc.checks import Validator
from pixied_server.rpc.convert import event_out, kind_in
from pixied_server.rpc.frames import FRAME_BYTES, closing_out, field, tag
from pixied_server.rpc.writer import Writer

__all__ = ["WatchServicer"]

# One answer has at most so many.
_EVENTS = 1_000
_EVENT = tag(wire.WatchResponse.EVENTS_FIELD_NUMBER)


class WatchServicer:
    """Streams events.

    Args:
        hub: the hub, and through it the watchers.
        valid: checks requests.
        drain: knows of open streams, and when they have to end.
    """

    def __init__(self, hub: Hub, valid: Validator, drain: Drain) -> None:
        self._hub = hub
        self._valid = valid
        self._drain = drain

    async def watch(self, raw: bytes, writer: Writer) -> None:
        """Serve one stream to its end."""
        wanted = self._filter(decode(wire.WatchRequest, raw))
        with self._drain.stream(), self._hub.watchers.watching(wanted) as watcher:
            await self._hub.engine.watch()
            await writer.write(wire.WatchResponse().SerializeToString())
            await first_of(self._stream(watcher, writer), watcher.keep_up(), self._end(watcher))
            closing = wire.WatchResponse(closing=closing_out(self._drain.delay_ms()))
            await writer.write(closing.SerializeToString())

    async def _stream(self, watcher: Watcher, writer: Writer) -> None:
        # Only the waiting is given up when the stop begins: a write that is cut short would break the stream.
        stopping = False
        while not stopping:
            if not (stopping := self._drain.begun):
                await watcher.wait()
                # One that waited with a thousand others writes in its turn.
                await self._hub.turns.give()
            async with writer.room(FRAME_BYTES):
                sighting = await watcher.take(_EVENTS)
                if sighting.shown or sighting.missed:
                    await writer.write(_encoded(sighting))

    async def _end(self, watcher: Watcher) -> None:
        await self._drain.wait()
        watcher.wake()
        # The stream ends when it has written what there is.
        await asyncio.get_running_loop().create_future()

    def _filter(self, request: wire.WatchRequest) -> Filter:
        if request.channel_pattern:
            self._valid.grammar.check_pattern(request.channel_pattern, field="channel_pattern")
        return Filter(
            kinds=frozenset(_kind(number) for number in request.kinds),
            pattern=request.channel_pattern,
            client_id=self._valid.text("client_id", request.client_id),
        )


def _kind(number: int) -> EventKind:
    kind = kind_in(number)
    if kind is None:
        raise FieldInvalid("kinds", f"there is no kind {number}; see EventKind")
    return kind


def _encoded(sighting: Sighting) -> bytes:
    missed = wire.WatchResponse(missed=sighting.missed).SerializeToString()
    return b"".join([missed, *(field(_EVENT, _event(one)) for one in sighting.shown)])


def _event(shown: Shown) -> bytes:
    if shown.encoded is None:
        shown.encoded = event_out(shown.event).SerializeToString()
    return shown.encoded
