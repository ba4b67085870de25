"""Watch: events for monitors."""

from pixied.v1 import watch_pb2 as wire
from pixied_server.admin import Drain
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.watch import Filter, Watcher
from pixied_server.engine.abc import EventKind
from pixied_server.errors import FieldInvalid
from pixied_server.rpc.calls import decode, first_of
from pixied_server.rpc.checks import Validator
from pixied_server.rpc.convert import event_out, kind_in
from pixied_server.rpc.frames import FRAME_BYTES, closing_out
from pixied_server.rpc.writer import Writer

__all__ = ["WatchServicer"]

_EVENTS = 1_000


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
            await self._stream(watcher, writer)
            closing = wire.WatchResponse(closing=closing_out(self._drain.delay_ms()))
            await writer.write(closing.SerializeToString())

    async def _stream(self, watcher: Watcher, writer: Writer) -> None:
        # Only the waiting is given up when the stop begins: a write that is cut short would break the stream.
        while not self._drain.begun:
            await first_of(watcher.wait(), self._drain.wait())
            async with writer.room(FRAME_BYTES):
                sighting = watcher.take(_EVENTS)
                response = wire.WatchResponse(events=map(event_out, sighting.events), missed=sighting.missed)
                await writer.write(response.SerializeToString())

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
