"""What the streams Deliver and Watch carry, free of I/O: frames in, items out."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, Generic, TypeVar

from google.protobuf.message import Message as Protobuf

from pixied.v1 import operations_pb2, watch_pb2
from pixied_client import convert
from pixied_client.errors import PixiedError, draining
from pixied_client.rpcs import BACKEND, Rpc
from pixied_client.values import Event, EventKind, Messages

__all__ = ["DeliverFeed", "Feed", "WatchFeed"]

T = TypeVar("T")


class Feed(ABC, Generic[T]):
    """One stream from the server: what opens it, and the items in its frames.

    Attributes:
        request: what opens it.
        ending: the error that the end of the stream means, or None while it is not to end.
    """

    rpc: ClassVar[Rpc]

    def __init__(self, request: Protobuf) -> None:
        self.request = request
        self.ending: PixiedError | None = None

    def take(self, frame: Any) -> list[T]:
        """Read one frame."""
        if frame.HasField("closing"):
            self.ending = draining(frame.closing)
        return self._items(frame)

    @abstractmethod
    def _items(self, frame: Any) -> list[T]: ...


class DeliverFeed(Feed[Messages]):
    """One client's messages; the arguments are those of `Backend.deliver`."""

    rpc = BACKEND["Deliver"]

    def __init__(self, client_id: str, *, explicit: bool, ack_cursor: str) -> None:
        mode = convert.ack_mode(explicit=explicit)
        super().__init__(operations_pb2.DeliverRequest(client_id=client_id, ack_mode=mode, ack_cursor=ack_cursor))

    def _items(self, frame: operations_pb2.DeliverResponse) -> list[Messages]:
        return [convert.messages_from(frame)] if frame.messages or frame.gaps or not self.ending else []


class WatchFeed(Feed[Event]):
    """Events; the arguments are those of `Backend.watch`."""

    rpc = BACKEND["Watch"]

    def __init__(self, kinds: Iterable[EventKind], channel_pattern: str, client_id: str) -> None:
        super().__init__(
            watch_pb2.WatchRequest(
                kinds=[watch_pb2.EventKind.Name(kind) for kind in kinds],
                channel_pattern=channel_pattern,
                client_id=client_id,
            )
        )
        self._missed = 0

    def _items(self, frame: watch_pb2.WatchResponse) -> list[Event]:
        events = convert.events_from(frame, self._missed + frame.missed)
        self._missed = 0 if events else self._missed + frame.missed
        return events
