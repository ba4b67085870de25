"""A front-end's link: the messages of all its clients on one Attach stream."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from itertools import count, islice
from operator import index
from typing import Any, Final

import grpc

from pixied.v1 import attach_pb2
from pixied_client import convert
from pixied_client.attachment import Attachment, Standing
from pixied_client.callback import BatchCallback, OnBatch
from pixied_client.errors import ClientUnknown, PixiedError, StreamProtocol, from_status
from pixied_client.frame_writer import FrameWriter
from pixied_client.kept_stream import Connection, Ending, KeptStream, closed
from pixied_client.receipts import Receipts
from pixied_client.rpcs import BACKEND
from pixied_client.values import Delivery, Detached, DetachReason, Gap

__all__ = ["Link"]

# Longer ids can't exist. Refused here, so that frames have a bound: 4,000 commands are about 1 MB.
_MAX_ID_BYTES: Final = 255
_MAX_FRAME_COMMANDS: Final = 4_000

# So many consumers work before the next frame is looked for: a third of a millisecond where each writes to a socket.
_AWAKE: Final = 32

# A Hello that is refused with one of these will be refused again.
_HOPELESS: Final = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    }
)


class Link(KeptStream):
    """Attaches clients, takes their deliveries, confirms what was dealt with, and attaches all again after a break.

    Args:
        connection: what the front-end's streams share.
        name: the front-end's name.
        window: how many unconfirmed deliveries the server may send at once.
        on_batch: gets all messages in batches, instead of each attachment its own.
        on_gap: called when an attached client lost messages.
        on_detached: called when a client is no longer attached.
    """

    kind = "link"

    def __init__(
        self,
        connection: Connection,
        name: str,
        window: int,
        *,
        on_batch: OnBatch | None = None,
        on_gap: Callable[[Attachment, Gap], None] | None = None,
        on_detached: Callable[[Attachment, Detached], None] | None = None,
    ) -> None:
        super().__init__(connection)
        self.attachments: dict[int, Attachment] = {}
        self.callback = BatchCallback(on_batch, self.release) if on_batch else None
        self._hello = attach_pb2.Hello(front_end=name, window=window)
        self._on_gap = on_gap
        self._on_detached = on_detached
        self._receipts = Receipts()
        self._writer = FrameWriter()
        self._new_handles = count()
        self._free_handles: list[int] = []
        self._gapped: set[Attachment] = set()
        self._asleep: dict[Attachment, None] = {}
        self._closed = False
        self._take_event: dict[str, Callable[[Any], None]] = {
            "welcome": self._welcomed,
            "attached": self._attached,
            "attach_failed": self._attach_failed,
            "delivery": self._delivered,
            "detached": self._was_detached,
            "gap": self._lost,
            "heartbeat": self._answer_heartbeat,
            "closing": self._closing,
        }

    async def attach(self, client_id: str, *, explicit: bool, expires: bool, ack_cursor: int) -> Attachment:
        """Attach a client and wait until the server holds it for this front-end.

        Raises:
            ClientUnknown: there is none such.
            FieldInvalid: the cursor was not handed out.
            LimitClients: the link has as many as it may.
            Unavailable: there was no link in time, or the front-end was closed.
            PixiedError: what else the server answered.
        """
        if self._closed:
            raise closed()
        _check_id(client_id)
        handle = self._new_handle()
        try:
            attachment = Attachment(self, client_id, handle, explicit=explicit, expires=expires, ack_cursor=ack_cursor)
        except (PixiedError, TypeError):
            self._free(handle)
            raise
        self.attachments[attachment.handle] = attachment
        if self.up:
            self._ask(attachment)
        try:
            async with asyncio.timeout(self.connection.timeout):
                await attachment.settled
        except TimeoutError:
            self.give_up(attachment)
            raise self.connection.unavailable() from None
        except asyncio.CancelledError:
            self.give_up(attachment)
            raise
        return attachment

    def release(self, numbers: Iterable[int]) -> None:
        """Note that these deliveries were dealt with by one more of their consumers."""
        for number in numbers:
            self._receipts.released(number)
        self._wake.set()

    def confirm(self, attachment: Attachment, number: int) -> None:
        """Confirm a client's deliveries up to this number."""
        if index(number) > self._receipts.last:
            raise ValueError(f"no delivery had the number {number} yet, the last one was {self._receipts.last}")
        on_link = self._receipts.on_link(number)
        if on_link > 0 and attachment.standing in {Standing.HELD, Standing.LEAVING}:
            self._writer.client_ack(attachment.handle, on_link)
            self._wake.set()

    def give_up(self, attachment: Attachment) -> None:
        """Begin to detach."""
        if not self.up and attachment.standing is Standing.ASKED:
            self._end(attachment, Detached(DetachReason.REQUESTED, ""))
        elif attachment.standing is Standing.HELD:
            self._confirm_ahead(attachment)
            self._writer.detach(attachment.handle)
            self._wake.set()
        if attachment.standing is not Standing.OVER:
            # One that was asked for and not answered is detached when it has been attached: before that, its handle
            # might stand for nothing.
            attachment.standing = Standing.LEAVING

    def close(self) -> None:
        """End all attachments. The server keeps their messages, and their timeouts begin to run."""
        self._closed = True
        with ExitStack() as endings:  # whatever a callback raises, the others are called too
            for attachment in list(self.attachments.values()):
                if not attachment.settled.done():
                    attachment.settled.set_exception(closed())
                detached = Detached(DetachReason.REQUESTED, "the front-end was closed")
                endings.callback(self._end, attachment, detached)

    def _confirm_ahead(self, attachment: Attachment) -> None:
        """Confirm what this client has dealt with, though the link as a whole can't yet: others are slower."""
        dealt_with = self._receipts.on_link(attachment.dealt_with)
        if not attachment.explicit and dealt_with > self._receipts.confirmable:
            self._writer.client_ack(attachment.handle, dealt_with)

    async def _open(self, channel: grpc.aio.Channel) -> Any:
        self._silence = self.connection.timeout
        open_stream = channel.stream_stream(
            BACKEND["Attach"].path,
            request_serializer=attach_pb2.AttachRequest.SerializeToString,
            response_deserializer=attach_pb2.AttachResponse.FromString,
        )
        return open_stream()

    async def _write(self, stream: Any) -> None:
        await stream.write(attach_pb2.AttachRequest(commands=[attach_pb2.AttachCommand(hello=self._hello)]))
        while True:
            # Cleared first: the welcome may have come, and clients been asked for, while the hello was being written.
            self._wake.clear()
            while commands := self._next_commands():
                await stream.write(attach_pb2.AttachRequest(commands=commands))
            if self._may_end():
                break
            await self._wake.wait()
        await stream.done_writing()

    def _may_end(self) -> bool:
        """Return whether this side shall end the stream: it was asked to, and what has come is confirmed.

        Who does not confirm it in time gets it again.
        """
        return self.up and (self._leaving or (self._come_back is not None and self._receipts.settled))

    def _next_commands(self) -> list[attach_pb2.AttachCommand]:
        if not self.up:
            return []
        self._writer.ack(self._receipts.confirmable)
        return self._writer.next_frame(min(self.connection.max_commands, _MAX_FRAME_COMMANDS))

    def _silence_limit(self) -> float | None:
        if self._come_back is None:
            return self._silence
        return min(self._silence, self._come_back - asyncio.get_running_loop().time())

    def _hopeless(self, ending: Ending) -> bool:
        return not ending.stood and ending.error.code in _HOPELESS

    def _take(self, frame: attach_pb2.AttachResponse) -> None:
        for event in frame.events:
            kind = event.WhichOneof("event")
            if kind:  # else an event of a newer server
                self._take_event[kind](getattr(event, kind))

    def _broke(self, error: PixiedError) -> None:
        del error
        self.connection.known.clear()  # the next server may have other limits
        self._receipts.begin()
        self._writer = FrameWriter()
        self._gapped.clear()
        if self.callback:
            self.callback.drop()
        for attachment in list(self.attachments.values()):
            if attachment.standing is Standing.LEAVING:
                self._end(attachment, Detached(DetachReason.REQUESTED, ""))
            else:
                attachment.broke()

    def _welcomed(self, welcome: attach_pb2.Welcome) -> None:
        self._silence = welcome.silence_limit.ToTimedelta().total_seconds()
        self.connection.max_commands = welcome.max_commands
        self.connection.known.set()
        self._stands()
        for attachment in self.attachments.values():
            self._ask(attachment)

    def _ask(self, attachment: Attachment) -> None:
        mode = convert.ack_mode(explicit=attachment.explicit)
        self._writer.attach(
            attachment.client_id, attachment.handle, mode, expires=attachment.expires, ack_cursor=attachment.ack_cursor
        )
        self._wake.set()

    def _ask_again(self, attachment: Attachment, writer: FrameWriter) -> None:
        """Ask again after a pause, unless the link was renewed meanwhile and has asked for all its clients."""
        if writer is not self._writer:
            return
        if attachment.standing is Standing.ASKED:
            self._ask(attachment)
        elif attachment.standing is Standing.LEAVING:
            self._end(attachment, Detached(DetachReason.REQUESTED, ""))

    def _attached(self, attached: attach_pb2.Attached) -> None:
        for handle in attached.handles:
            attachment = self._bearer(handle)
            leaving = attachment.standing is Standing.LEAVING
            attachment.attached()
            if leaving:
                self.give_up(attachment)

    def _attach_failed(self, failed: attach_pb2.AttachFailed) -> None:
        attachment = self._bearer(failed.handle)
        error = from_status(failed.error)
        if attachment.settled.done() and error.code is grpc.StatusCode.UNAVAILABLE:
            # It was attached before the link was renewed, and may be again when the server is well.
            pause = (error.retry_after or 0.0) + self.connection.backoff.pause(3, self.connection.chance)
            asyncio.get_running_loop().call_later(pause, self._ask_again, attachment, self._writer)
            return
        if not attachment.settled.done():
            attachment.settled.set_exception(error)
        self._end(attachment, Detached(DetachReason.REFUSED, error.message))

    def _delivered(self, delivery: attach_pb2.Delivery) -> None:
        if self.callback:
            number = self._came(delivery, consumers=1)
            self.callback.put(number, [convert.batch_from(batch, number) for batch in delivery.batches])
            return
        only_gaps = self._only_gapped(delivery)
        consumers = sum(len(batch.handles) for batch in delivery.batches) + len(only_gaps)
        number = self._came(delivery, consumers)
        for batch in delivery.batches:
            self._spread(batch, number)
        for attachment in only_gaps:
            self._hand(attachment, Delivery((), redelivered=False, number=number))

    def _only_gapped(self, delivery: attach_pb2.Delivery) -> set[Attachment]:
        """Return those with a gap and no message in this delivery. They too have to take it: it confirms the gap."""
        gapped, self._gapped = self._gapped, set()
        for batch in delivery.batches:
            if not gapped:
                break
            gapped.difference_update(map(self._bearer, batch.handles))
        return gapped

    def _came(self, delivery: attach_pb2.Delivery, consumers: int) -> int:
        number = self._receipts.last + 1
        if self._receipts.on_link(number) != delivery.number:
            raise StreamProtocol(f"pixied sent delivery {delivery.number} instead of {self._receipts.on_link(number)}")
        self._receipts.came(delivery.number, consumers)
        return number

    def _spread(self, packed: attach_pb2.Batch, number: int) -> None:
        batch = convert.batch_from(packed, number)
        delivery = Delivery(batch.messages, batch.redelivered, number, cursor=batch.cursor)
        for handle in batch.handles:
            self._hand(self._bearer(handle), delivery)

    def _hand(self, attachment: Attachment, delivery: Delivery) -> None:
        attachment.deliver(delivery)
        if not self._asleep:
            asyncio.get_running_loop().call_soon(self._wake_some)
        self._asleep[attachment] = None

    def _wake_some(self) -> None:
        """Wake the consumers that have deliveries, 32 at a time.

        Frames that come meanwhile are read in between: when there is much to do, a consumer that is woken late finds
        more deliveries, and can deal with them in one go.
        """
        for attachment in list(islice(self._asleep, _AWAKE)):
            del self._asleep[attachment]
            attachment.wake()
        if self._asleep:
            asyncio.get_running_loop().call_soon(self._wake_some)

    def _was_detached(self, detached: attach_pb2.Detached) -> None:
        attachment = self._bearer(detached.handle)
        self._end(attachment, Detached(DetachReason(detached.reason), detached.detail))

    def _lost(self, lost: attach_pb2.ClientGap) -> None:
        gap = convert.gap_from(lost.gap)
        for handle in lost.handles:
            attachment = self._bearer(handle)
            if not self.callback:
                attachment.lost(gap)
                self._gapped.add(attachment)
            if self._on_gap:
                self._on_gap(attachment, gap)

    def _answer_heartbeat(self, heartbeat: attach_pb2.Heartbeat) -> None:
        del heartbeat
        self._writer.heartbeat()
        self._wake.set()

    def _end(self, attachment: Attachment, detached: Detached) -> None:
        del self.attachments[attachment.handle]
        self._free(attachment.handle)
        self._writer.forget(attachment.handle)
        self._gapped.discard(attachment)
        attachment.end(detached)
        if self._on_detached:
            self._on_detached(attachment, detached)

    def _bearer(self, handle: int) -> Attachment:
        attachment = self.attachments.get(handle)
        if attachment is None:
            raise StreamProtocol(f"pixied named the handle {handle}, which stands for no client")
        return attachment

    def _new_handle(self) -> int:
        return self._free_handles.pop() if self._free_handles else next(self._new_handles)

    def _free(self, handle: int) -> None:
        """Let a handle be used again; not while batches wait for the callback, which goes by the handle."""
        if self.callback:
            self.callback.call_after(lambda: self._free_handles.append(handle))
        else:
            self._free_handles.append(handle)


def _check_id(client_id: str) -> None:
    """Refuse what can't be a client's id before it is anywhere in the link, which all clients share.

    Raises:
        ClientUnknown.
    """
    try:
        size = len(client_id.encode())
    except UnicodeEncodeError as error:
        raise ClientUnknown("no client id has half a surrogate pair", code=grpc.StatusCode.NOT_FOUND) from error
    if size > _MAX_ID_BYTES:
        raise ClientUnknown("no client id is longer than 255 bytes", code=grpc.StatusCode.NOT_FOUND)
