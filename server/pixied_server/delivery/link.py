"""A link: one front-end's stream, with the messages of all clients attached through it.

A live message reaches a link as it is published and goes to those of the link's clients that subscribe, found without
looking at each of them. Two can be behind that: a client, when it is attached with messages pending, and the whole
link, when its front-end confirms slowly. Both then read the logs from where they are until nothing is left, and are
live again (`CatchUp`, `Outbox`).

At that seam sequences decide. A client that has read its logs up to the hub's head joins the link's audiences with that
progress. The link's older messages are not for this client, which has read them; all later ones are. So it misses none
and gets none twice, however far behind the link itself is.
"""

import asyncio
import weakref
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pixied_server.core.backlog import Loss
from pixied_server.core.log import Entry
from pixied_server.core.progress import NOTHING, Progress, covers, later
from pixied_server.core.traces import without_traces
from pixied_server.delivery.attachment import Attachment
from pixied_server.delivery.audience import Audience, AudienceLimits, Audiences
from pixied_server.delivery.catch_up import CatchUp, Pause
from pixied_server.delivery.events import (
    Attached,
    AttachFailed,
    Batch,
    Delivery,
    Detached,
    DetachReason,
    Heartbeat,
    LinkEvent,
    Lost,
)
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.ledger import Ledger
from pixied_server.delivery.losses import Losses
from pixied_server.delivery.outbox import Outbox, OutboxLimits
from pixied_server.errors import ClientUnknown, EngineUnavailable, LimitClients, PixiedError, StreamProtocol

__all__ = ["AttachTerms", "Link", "LinkLimits"]

# How many clients are released before others get a turn.
_SLICE = 500
# A front-end that has so many unread answers may send no further commands.
_NEWS = 10_000
_HEARTBEAT = Heartbeat()
# About how many bytes a handle takes in an encoded delivery.
_HANDLE_BYTES = 3


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """How much one link may have.

    Attributes:
        clients: how many attached clients.
        delivery_bytes: about how many bytes in one delivery.
        outbox: how many live messages wait in memory.
        audiences: how many audiences are kept ready.
    """

    clients: int = 200_000
    delivery_bytes: int = 900_000
    outbox: OutboxLimits = field(default_factory=OutboxLimits)
    audiences: AudienceLimits = field(default_factory=AudienceLimits)


@dataclass(frozen=True, slots=True)
class AttachTerms:
    """How a client is attached.

    Attributes:
        explicit: only the client's own confirmations count, not the link's.
        expires: the session timeout runs on although the client is attached.
        cursor: the client has got everything up to what this stands for; 0 for nothing.
    """

    explicit: bool
    expires: bool
    cursor: int


class Link:
    """See the module.

    Args:
        hub: the hub.
        front_end: the front-end's name.
        window: so many deliveries may be unconfirmed.
        limits: how much it may have.
    """

    def __init__(self, hub: Hub, front_end: str, window: int, limits: LinkLimits) -> None:
        self.front_end = front_end
        self.last_cursor = 0
        self.ledger = Ledger(window)
        # Weak, so that a closed link frees all that waited on it at once. In a cycle it would stay: the garbage
        # collector hardly ever looks at old objects.
        self.audiences = Audiences(_weak(self._follow), _weak(self._unfollow), limits.audiences)
        self._hub = hub
        self._limits = limits
        self._outbox = Outbox(hub, limits.outbox)
        self._losses = Losses(self.audiences)
        self._attachments: dict[int, Attachment] = {}
        # Handles whose clients are being claimed.
        self._asked: set[int] = set()
        # The recipient of each queued entry; and whose inboxes are to be trimmed once a delivery is confirmed.
        self._own: dict[Entry, Attachment] = {}
        self._to_trim: OrderedDict[Attachment, int] = OrderedDict()
        self._explicit = 0
        # While a delivery is put together, its messages are in no delivery that has a number.
        self._building = False
        self._notices: list[LinkEvent] = []
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._pause = Pause(self._news)
        self._catch_up = CatchUp(hub.engine, self.audiences, self._pause)

    def __len__(self) -> int:
        """How many clients are attached."""
        return len(self._attachments)

    @property
    def ready(self) -> bool:
        """Whether `take` would not wait."""
        return self._news.is_set()

    @property
    def behind(self) -> bool:
        """Whether it has to read messages from the logs."""
        return self._outbox.full

    @property
    def progress(self) -> Progress:
        """Everything up to here has been put into deliveries for all live clients."""
        return self._outbox.progress

    @property
    def reached(self) -> Progress:
        """Nothing beyond this has been put into deliveries."""
        return self._outbox.reached

    def progress_at(self, number: int) -> Progress:
        """Return the progress that the deliveries up to a number reached."""
        if number >= self.ledger.number and not self._building and not self._losses:
            return self.progress
        # Not further, while there are losses that no delivery has announced yet.
        return self.ledger.progress_at(number)

    def confirmed(self) -> Progress:
        """See `Checkpoint`."""
        return self.progress_at(self.ledger.acked) if self.ledger.acked else NOTHING

    def cursor_of(self, progress: Progress) -> int:
        """Return a number that names a client's progress."""
        self.last_cursor = self._hub.engine.cursor_of(progress)
        return self.last_cursor

    # What the front-end asks for

    async def attach(self, client_id: str, handle: int, terms: AttachTerms) -> None:
        """Attach a client. An event announces the outcome.

        Raises:
            StreamProtocol: the handle is in use.
        """
        self._check_free(handle)
        try:
            if len(self) + len(self._asked) >= self._limits.clients:
                raise LimitClients("on one link", self._limits.clients)
            self._asked.add(handle)
            checkpoint = None if terms.explicit else self
            claim = await self._hub.engine.claim(
                client_id, self.front_end, expires=terms.expires, cursor=terms.cursor, checkpoint=checkpoint
            )
        except PixiedError as error:
            without_traces(error)  # they hold the link, which keeps the event
            self.notify(AttachFailed(handle, error))
            return
        finally:
            self._asked.discard(handle)
        attachment = Attachment(self, claim, handle, explicit=terms.explicit)
        self._attachments[handle] = attachment
        self._explicit += terms.explicit
        self._catch_up.add(attachment)
        self.notify(Attached(handle))
        self._hub.own(client_id, attachment)

    async def together(self, attaching: Iterable[Awaitable[None]]) -> None:
        """Attach clients, whose handles differ, without waiting for each.

        Raises:
            StreamProtocol: a handle is in use.
        """
        for outcome in await self._hub.engine.together(attaching):
            if isinstance(outcome, PixiedError):
                raise outcome

    def refuse(self, handle: int, error: PixiedError) -> None:
        """Announce that a client is not attached, and why.

        Raises:
            StreamProtocol: the handle is in use.
        """
        self._check_free(handle)
        self.notify(AttachFailed(handle, error))

    def _check_free(self, handle: int) -> None:
        if handle in self._attachments or handle in self._asked:
            raise StreamProtocol(f"handle {handle} is in use; it is free again after `detached` or `attach_failed`")

    async def detach(self, handle: int) -> None:
        """Detach a client. One that was just lost is no error."""
        attachment = self._attachments.get(handle)
        if attachment is not None:
            await self._hub.let_go(attachment.claim.client_id, attachment)
            self.on_gone(attachment, DetachReason.REQUESTED, "")

    async def ack(self, number: int) -> None:
        """Confirm every delivery up to a number.

        Raises:
            StreamProtocol: it was not sent yet.
        """
        self.ledger.ack(number)
        if not self._explicit:
            self.ledger.forget_acked()
        if self._has_more():
            self._news.set()
        if due := self._due_to_trim(number):
            await self._confirm_own(due)

    def _due_to_trim(self, number: int) -> list[Attachment]:
        """Take those whose inboxes may be trimmed; who got more since comes up again once that is confirmed."""
        due: list[Attachment] = []
        while self._to_trim and next(iter(self._to_trim.values())) <= number:
            due.append(self._to_trim.popitem(last=False)[0])
        for attachment in due:
            if attachment.last_own > number:
                self._to_trim[attachment] = attachment.last_own
        return due

    async def client_ack(self, handle: int, number: int) -> None:
        """Confirm every delivery up to a number for one client. One that was just lost is no error.

        Raises:
            StreamProtocol: it was not sent yet.
        """
        self.ledger.check(number)
        attachment = self._attachments.get(handle)
        if attachment is not None:
            attachment.acked = max(attachment.acked, number)
            if attachment.explicit:
                await self._confirm_own([attachment])

    async def close(self) -> None:
        """Release all clients: their messages stay, their session timeouts begin to run.

        Raises:
            PixiedError: the store did not confirm some releases; these clients are no longer held here either.
        """
        failures: list[Exception] = []
        attached = list(self._attachments.values())
        for begin in range(0, len(attached), _SLICE):
            try:
                failures += await self._let_go(attached[begin : begin + _SLICE])
            except Exception as error:  # noqa: BLE001 - the others would stay with a link that is gone
                failures.append(error)
            await asyncio.sleep(0)
        self._own.clear()
        self._to_trim.clear()
        if failures:
            raise failures[0]

    async def _let_go(self, some: Sequence[Attachment]) -> Sequence[Exception]:
        """Release clients. Return the errors of those that the store did not confirm."""
        letting = (self._hub.let_go(attachment.claim.client_id, attachment) for attachment in some)
        try:
            outcomes = await self._hub.engine.together(letting)
        finally:
            for attachment in some:
                self._remove(attachment)
        return [one for one in outcomes if isinstance(one, PixiedError)]

    async def _confirm_own(self, some: Iterable[Attachment]) -> None:
        """Trim the inboxes of clients that got queued messages."""
        confirming = (self._confirm(attachment) for attachment in some if self._is_live(attachment))
        for outcome in await self._hub.engine.together(confirming):
            # A session may be found to be over just now; the hub announces that to the link.
            if isinstance(outcome, PixiedError) and not isinstance(outcome, ClientUnknown):
                raise outcome

    async def _confirm(self, attachment: Attachment) -> None:
        if confirmed := attachment.delivered().confirmed:
            await self._hub.engine.confirm(attachment.claim, confirmed)

    # What the front-end gets

    async def wait(self) -> None:
        """Wait until there is something to take."""
        await self._news.wait()

    async def take(self) -> list[LinkEvent]:
        """Wait for events, and take what there is: at most one delivery, and nothing beyond the window."""
        await self._news.wait()
        # An event that comes while a delivery is put together follows it: the delivery may name a client just gone.
        events, self._notices = self._notices, []
        self._room.set()
        if self.ledger.open:
            events += await self._delivery()
        if not self._has_more():
            self._news.clear()
        return events

    def _has_more(self) -> bool:
        if self._notices:
            return True
        if not self.ledger.open:
            return False
        to_read = bool(self._catch_up or self._outbox) and not self._pause
        return to_read or self._outbox.ready or bool(self._losses)

    async def _delivery(self) -> list[LinkEvent]:
        # Stays true if this fails: then the link ends, and messages that were taken count as not delivered.
        self._building = True
        batches, losses = await self._batches()
        self._building = False
        self._count(batches, losses)
        if not batches and not losses:
            return []
        # Losses need a number too, even without messages: until that is confirmed they are announced again.
        return [*losses, Delivery(self.ledger.record(self.progress), batches)]

    async def _batches(self) -> tuple[list[Batch], list[Lost]]:
        batches: list[Batch] = []
        losses: list[Lost] = []
        room = self._limits.delivery_bytes
        room -= await self._catch_up.read(batches, losses, self.ledger.number + 1, room)
        caught_up = len(batches)
        await self._live_messages(batches, room)
        for batch in batches[caught_up:]:
            self._name(batch)
        losses += self._losses.tell()
        return batches, losses

    def _name(self, batch: Batch) -> None:
        """Give a batch of live messages its cursor."""
        batch.cursor = self.cursor_of(batch.reached)
        if self._explicit:
            for handle in batch.audience.handles:
                attachment = self._attachments.get(handle)
                if attachment is not None and attachment.explicit:
                    attachment.got(batch.cursor, batch.reached)

    async def _live_messages(self, batches: list[Batch], room: int) -> None:
        """Take live messages, joining those for the same audience."""
        last: Batch | None = None
        outbox = self._outbox
        while room > 0:
            entry = outbox.take_ready() or await self._read_on(room)
            if entry is None:
                break
            audience = self._audience_of(entry)
            if not audience:
                continue
            if last is None or last.audience is not audience:
                if last is not None:
                    last.reached = _just_before(entry, outbox.progress)
                last = Batch([], audience, redelivered=False)
                batches.append(last)
                room -= _HANDLE_BYTES * len(audience)
            last.entries.append(entry)
            room -= entry.message.size
        if last is not None:
            last.reached = outbox.progress

    async def _read_on(self, room: int) -> Entry | None:
        """Read messages that did not fit into the outbox. Return the first of them."""
        if self._pause:
            return None
        try:
            entry, losses = await self._outbox.take(room)
        except EngineUnavailable:
            self._pause.begin()
            return None
        for loss in losses:
            self._losses.add(loss)
        return entry

    def _follow(self, pattern: str) -> None:
        self._hub.follow(pattern, self)

    def _unfollow(self, pattern: str) -> None:
        self._hub.unfollow(pattern, self)
        self._outbox.forget(pattern)
        self._losses.forget(pattern)

    def _audience_of(self, entry: Entry) -> Audience:
        owner = self._own.pop(entry, None)
        if owner is not None:
            if not self._is_live(owner) or not entry.is_beyond(owner.joined):
                return _NOBODY
            owner.last_own = self.ledger.number + 1
            self._to_trim.setdefault(owner, owner.last_own)
            return owner.alone
        audience = self.audiences.of(entry)
        if entry.message.exclude_publisher:
            return audience.without(self._handle_of(entry.message.publisher))
        return audience

    def _handle_of(self, client_id: str) -> int | None:
        owner = self._hub.owner_of(client_id)
        return owner.handle if isinstance(owner, Attachment) and owner.link is self else None

    def _has(self, attachment: Attachment) -> bool:
        return self._attachments.get(attachment.handle) is attachment

    def _is_live(self, attachment: Attachment) -> bool:
        return attachment.live and self._has(attachment)

    def _count(self, batches: list[Batch], losses: list[Lost]) -> None:
        self._hub.counters.lost += sum(loss.count * len(loss.handles) for loss in losses)
        for batch in batches:
            redelivered = len(batch.entries) if batch.redelivered else 0
            self._hub.handed_out(batch.entries, len(batch.audience), self.front_end, redelivered=redelivered)

    def notify(self, event: LinkEvent) -> None:
        """Send the front-end an event."""
        self._notices.append(event)
        self._news.set()

    def beat(self) -> None:
        """Send a heartbeat, unless the front-end has yet to read the last one."""
        if _HEARTBEAT not in self._notices:
            self.notify(_HEARTBEAT)

    async def hold_back(self) -> None:
        """Wait while too many events wait for the front-end."""
        while len(self._notices) > _NEWS:
            self._room.clear()
            await self._room.wait()

    # What the hub tells it (`Follower`, and for its attachments `Owner`)

    def on_published(self, entry: Entry, appended: Sequence[tuple[str, int]]) -> None:
        """See `Follower`."""
        self._outbox.put(entry, (one for one in appended if one[0] in self.audiences))
        self._news.set()

    def on_missed(self, loss: Loss) -> None:
        """See `Follower`."""
        if not self._outbox.reads((loss.pattern, loss.partition)):
            self._losses.add(loss)
        self._news.set()

    def on_queued(self, attachment: Attachment, entry: Entry) -> None:
        """A message was queued for one of the link's clients."""
        if self._outbox.full and not self._outbox.is_late(entry):
            # The outbox has no room for the message, and the logs that the link will read do not have it.
            self.on_behind(attachment)
            return
        # If the client is catching up, its read may end before this message.
        self._own[entry] = attachment
        self._outbox.put(entry, ())
        self._news.set()

    def on_behind(self, attachment: Attachment) -> None:
        """A client has to read its logs by itself."""
        if attachment.live:
            # First, for it reads on from the link's progress, which may move when the link follows fewer patterns.
            attachment.fall_back()
            self._losses.leaves(attachment.handle)
            self._unlist(attachment)
        else:
            attachment.read_again()
        if self._has(attachment):
            # A read that is under way may lack the new messages.
            self._catch_up.add(attachment)
        self._news.set()

    def on_own_missed(self, attachment: Attachment, loss: Loss) -> None:
        """A client's inbox lost messages that were never announced."""
        where = (loss.partition, loss.sequence)
        if not attachment.live or not covers(later(attachment.joined, self.progress), *where):
            self.on_behind(attachment)
        elif not covers(attachment.joined, *where):
            # Younger messages went out before: the client would read its inbox from beyond the loss.
            self._losses.add_alone(attachment.handle, loss.count)
            self._news.set()

    def on_unsubscribed(self, attachment: Attachment, pattern: str) -> None:
        """A client gets nothing more through a pattern."""
        self.audiences.discard(pattern, attachment.handle)
        self._losses.gone(attachment.handle, pattern)

    def on_gone(self, attachment: Attachment, reason: DetachReason, detail: str) -> None:
        """A client is no longer on this link. Announced once, whatever finds out."""
        if self._remove(attachment):
            self.notify(Detached(attachment.handle, reason, detail))

    def _remove(self, attachment: Attachment) -> bool:
        if not self._has(attachment):
            return False
        self._catch_up.discard(attachment)
        self._to_trim.pop(attachment, None)
        del self._attachments[attachment.handle]
        self._explicit -= attachment.explicit
        self._losses.gone(attachment.handle)
        self._unlist(attachment)
        return True

    def _unlist(self, attachment: Attachment) -> None:
        for pattern in attachment.claim.patterns():
            self.audiences.discard(pattern, attachment.handle)


def _weak(method: Callable[[str], None]) -> Callable[[str], None]:
    """Wrap a method without keeping its object alive."""
    bound = weakref.WeakMethod(method)

    def call(pattern: str) -> None:
        if (alive := bound()) is not None:
            alive(pattern)

    return call


def _just_before(entry: Entry, progress: Progress) -> Progress:
    """Return the progress before the entry that was taken last."""
    before = list(progress)
    before[entry.partition] = entry.sequence - 1
    return tuple(before)


_NOBODY = Audience(())
