"""The contract of all engines. The docstrings here are its specification; `tests/engine` tests all engines against it.

Common to all operations:

- Atomic: an operation happens wholly or, when it raises, not at all. It raises a `PixiedError`.
  Operations with many things may let others go on in between: of publishes and queued messages others may see the
  first before the last, but all that were admitted are appended, in their order. A list has what is there all the
  time; what comes or goes meanwhile may be in it or not.
- Arguments are valid: names, sizes and ranges were checked at the edge. Engines check only what needs their state.
- An engine announces messages and events to the listener in the order in which they happened: before the operation that
  caused them returns, or, where an engine waits for a store, as soon as the store announces them. The listener's
  methods are plain functions that do not fail and must not call the engine back.
- A `Progress` says how far a reader is: one sequence for each of the engine's partitions. It means the same in every
  process over one store, for as long as the store has its messages.
- A cursor is a number below 2^53 that names a progress of one client, for the client itself to confirm.
- Unless an operation says otherwise, an unknown, expired or destroyed client raises `ClientUnknown`.
- Times are seconds since the epoch, durations are seconds.
"""

from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Protocol, Self, TypeVar

from pixied_server.core.backlog import Loss
from pixied_server.core.channels import logs_of
from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.core.paging import Page, PageRequest
from pixied_server.core.progress import NOTHING, Progress
from pixied_server.errors import PixiedError

__all__ = [
    "NOT_HANDED_OUT",
    "Channel",
    "Checkpoint",
    "Claim",
    "Client",
    "Counters",
    "Delivered",
    "EndReason",
    "Engine",
    "Event",
    "EventKind",
    "Holdings",
    "Listener",
    "LogName",
    "LogsRead",
    "PublishOutcome",
    "QueueOutcome",
    "Reading",
]


T = TypeVar("T")

NOT_HANDED_OUT = "it was not handed out for this client; leave it empty, or name a cursor that was"


class EventKind(Enum):
    """The kinds of events that watchers can see, as in the contract's `EventKind`."""

    CLIENT_CREATED = auto()
    CLIENT_DESTROYED = auto()
    CHANNEL_CREATED = auto()
    CHANNEL_DESTROYED = auto()
    SUBSCRIBED = auto()
    UNSUBSCRIBED = auto()
    PUBLISHED = auto()
    DELIVERED = auto()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. Fields that do not apply are empty; see the contract's `Event`."""

    kind: EventKind
    at: float
    client_id: str = ""
    channel: str = ""
    reason: str = ""
    message_id: str = ""
    recipients: int = 0
    front_end: str = ""

    @classmethod
    def published(cls, message: Message, at: float, client_id: str, recipients: int) -> Self:
        """Make the event of a message that was published by a client, "" for none, or queued for one."""
        return cls(
            EventKind.PUBLISHED,
            at,
            client_id=client_id,
            channel=message.channel,
            message_id=message.id,
            recipients=recipients,
        )


class EndReason(Enum):
    """Why a session ended."""

    DESTROYED = auto()
    EXPIRED = auto()


# Values that operations return are not frozen: making a frozen one takes up to 3 times as long.
@dataclass(slots=True)
class Client:
    """A session, as it is at one moment.

    Attributes:
        expires_at: None while an owner keeps it alive.
        pending: messages that it has not confirmed.
        front_end: who holds it, or "".
    """

    client_id: str
    created_at: float
    expires_at: float | None
    session_timeout: float
    subscriptions: int
    pending: int
    front_end: str
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel or pattern that someone subscribes to, as it is at one moment."""

    pattern: str
    subscribers: int
    messages: int
    bytes: int


@dataclass(slots=True)
class PublishOutcome:
    """How many subscriptions a message matched, or had matched when it was first published."""

    matched: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class QueueOutcome:
    """What the client has pending now, and how many of the messages were queued before."""

    pending: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """How much an engine holds; see the contract's `Holdings`."""

    clients: int
    channels: int
    subscriptions: int
    messages: int
    bytes: int
    namespaces: int


@dataclass(slots=True)
class Counters:
    """How often things happened since the start; see the contract's `Counters`. Counted where they happen."""

    published: int = 0
    queued: int = 0
    duplicates: int = 0
    clients_created: int = 0
    clients_expired: int = 0
    clients_destroyed: int = 0


LogName = tuple[str, int]
"""A log of an engine: its pattern, and the partition that it is in. Each partition has logs of its own."""


@dataclass(slots=True)
class Reading:
    """The result of one read of a client's messages.

    Attributes:
        entries: in order, each once.
        redelivered: so many of them, from the first on, may have been delivered before.
        losses: messages that were found missing.
        begin: the progress from which it read.
        upto: the progress that it reached.
        done: there is nothing more: all that was announced up to `upto` has been read.
        own: those of the entries that were queued for the client.
        large: a message was left, for it is larger than what it may take of the size that was asked for.
    """

    entries: list[Entry]
    redelivered: int
    losses: Sequence[Loss]
    begin: Progress
    upto: Progress
    done: bool
    own: Collection[Entry] = ()
    large: bool = False

    def without(self, pattern: str, others: AbstractSet[str]) -> "Reading":
        """Return the rest for a client that has unsubscribed from a pattern since, and not from the others."""

        def stays(entry: Entry) -> bool:
            patterns = logs_of(entry.message.channel)
            return entry in self.own or pattern not in patterns or not others.isdisjoint(patterns)

        entries = [entry for entry in self.entries if stays(entry)]
        redelivered = sum(map(stays, self.entries[: self.redelivered]))
        losses = [loss for loss in self.losses if loss.pattern != pattern]
        return replace(self, entries=entries, redelivered=redelivered, losses=losses)

    def after(self, count: int) -> Progress:
        """Return the progress of a reader that has taken so many of the entries."""
        if count == len(self.entries):
            return self.upto
        reached = list(self.begin) or [0] * len(self.upto)
        for entry in self.entries[:count]:
            reached[entry.partition] = max(entry.sequence, reached[entry.partition])
        return tuple(reached)


@dataclass(frozen=True, slots=True)
class LogsRead:
    """The result of one read of logs; see `Engine.read`.

    Attributes:
        entries: each once, and those of each partition in order.
        losses: messages that were found missing.
        upto: the progress that it reached.
        offsets: the first offset of each log that is beyond that.
    """

    entries: list[Entry]
    losses: Sequence[Loss]
    upto: Progress
    offsets: Mapping[LogName, int]


@dataclass(slots=True)
class Delivered:
    """How far the messages of a client that is held have come.

    Attributes:
        confirmed: it has confirmed everything up to here.
        sent: it may have got everything up to here.
        cursors: the last cursors that it was given, and the progress of each; the youngest last.
    """

    confirmed: Progress = NOTHING
    sent: Progress = NOTHING
    cursors: Sequence[tuple[int, Progress]] = ()


class Claim(Protocol):
    """The messages of a client that someone has claimed: a reader of its logs from what it has confirmed on."""

    client_id: str
    number: int
    """No other claim has it; a later claim has a higher one."""

    async def read(self, *, messages: int, size: int, least: int) -> Reading:
        """Read on, in order and one copy of each message, at most to what was announced by now. Confirms nothing.

        Args:
            messages: at most so many, 1 or more.
            size: about so many bytes.
            least: so many messages, 0 or 1, are read whatever their size.

        Raises:
            EngineUnavailable: nothing was read.
        """
        ...

    def join(self) -> None:
        """Note that a read was done: beyond its `upto` the client gets its messages as they are announced."""
        ...

    def seek(self, progress: Progress, sent: Progress) -> Progress:
        """Read on from a progress: up to there the client got its messages as they were announced.

        Args:
            progress: it got all up to here.
            sent: it got nothing beyond this, and what it got beyond `progress` is marked when it is read again.

        Returns:
            The progress from which it really reads on. It is an earlier one where a subscription has yet to be read
            from its beginning; messages that the client got meanwhile are not read again.
        """
        ...

    def capped(self, progress: Progress) -> Progress:
        """Return what the client has really got where its link is at a progress, or where it has read up to there.

        That is less where the client has a new subscription that was not read yet.
        """
        ...

    def patterns(self) -> Sequence[str]:
        """Return the patterns that the client subscribes to."""
        ...


class Checkpoint(Protocol):
    """What a link has confirmed: it counts for all of its clients that have joined."""

    def confirmed(self) -> Progress:
        """Return the progress up to which all is confirmed for every client that had joined by then."""
        ...


class Listener(Protocol):
    """Receives what an engine announces."""

    @property
    def wanted(self) -> Collection[EventKind]:
        """The kinds of events that anyone watches for; engines need not announce others."""
        ...

    def delivered(self, client_id: str) -> Delivered | None:
        """Return how far a client that is held here is."""
        ...

    def published(self, entry: Entry, appended: Sequence[tuple[str, int]]) -> None:
        """A message was appended to the logs of one or more patterns, at an offset in each.

        Called in the order of each partition's sequences.
        """
        ...

    def queued(self, client_id: str, entry: Entry) -> None:
        """A message was appended to a client's inbox. Called in the order of sequences, with `published`."""
        ...

    def missed(self, loss: Loss) -> None:
        """The log of a pattern lost messages before they could be announced."""
        ...

    def own_missed(self, client_id: str, loss: Loss) -> None:
        """A client's inbox lost messages before they could be announced. Younger ones may have been announced."""
        ...

    def subscribed(self, client_id: str, pattern: str, since: Progress) -> None:
        """A client gets what is published to the pattern from here on."""
        ...

    def behind(self, client_id: str) -> None:
        """A client may have messages that are not announced to it: it has to read its logs."""
        ...

    def unsubscribed(self, client_id: str, pattern: str) -> None:
        """A client gets nothing more through the pattern."""
        ...

    def gone(self, client_id: str, reason: EndReason, detail: str) -> None:
        """A session ended."""
        ...

    def claimed(self, client_id: str) -> None:
        """Someone else has claimed the client."""
        ...

    def happened(self, event: Event) -> None:
        """Something happened that a watcher may want to see."""
        ...


class Engine(Protocol):
    """Clients, subscriptions and logs.

    What an operation has begun to change in a store is finished, announced and counted although its caller is
    cancelled, as gRPC cancels calls whose peer is gone or whose deadline is over. Who cancels it waits until then.
    """

    name: str
    counters: Counters
    listener: Listener
    """Set before anything else is called."""

    @property
    def head(self) -> Progress:
        """Everything up to here has been announced."""
        ...

    @property
    def trouble(self) -> str:
        """Why its store can't be used at the moment; "" if it can."""
        ...

    async def run(self) -> None:
        """Do what time demands, until cancelled.

        Sessions end within 100 ms of their deadline, never before it; messages that are too old go.
        """
        ...

    async def together(self, operations: Iterable[Awaitable[T]]) -> list[T | PixiedError]:
        """Do many operations of this engine, each as if alone: where they wait for a store, they wait together.

        They begin in their order, and must not depend on each other.

        Returns:
            What each has returned, or the `PixiedError` that it has raised. Any other exception is raised here.
        """
        ...

    def watched(self, kind: EventKind) -> bool:
        """Return whether anyone wants events of this kind, here or in another process."""
        ...

    def show(self, event: Event) -> None:
        """Show an event of this process to all watchers."""
        ...

    async def watch(self) -> None:
        """Begin to show events of all processes: they are shown once this returns."""
        ...

    async def generate_namespace(self, length: int) -> str:
        """Reserve a random identifier.

        Raises:
            LimitNamespaces: too many are reserved, or none of this length is free.
        """
        ...

    async def release_namespace(self, namespace: str) -> None:
        """Free an identifier.

        Raises:
            NamespaceUnknown: it is not reserved. NamespaceInUse: it is a live client's id.
        """
        ...

    async def create_client(self, session_timeout: float, attributes: Mapping[str, str]) -> Client:
        """Start a session under a newly reserved identifier.

        Raises:
            LimitClients, RateLimited.
        """
        ...

    async def get_client(self, client_id: str) -> Client:
        """Return a client."""
        ...

    async def ping_client(self, client_id: str) -> float | None:
        """Begin the session timeout anew. Returns the new expiry, or None while an owner keeps the client alive."""
        ...

    async def ping_clients(self, client_ids: Sequence[str]) -> dict[str, float | None]:
        """Ping many clients, as `ping_client` does. Returns the new expiries of those that are known."""
        ...

    async def destroy_client(self, client_id: str, reason: str) -> None:
        """End a session: subscriptions, unread messages and identifier go, channels without subscribers too."""
        ...

    async def subscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """Subscribe to all patterns. Returns those that are new, in their order, each once. Idempotent.

        Raises:
            LimitSubscriptions: nothing was subscribed.
        """
        ...

    async def unsubscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """End subscriptions and give up their pending messages. Returns those that existed. Idempotent."""
        ...

    async def subscribers_of(self, pattern: str, page: PageRequest) -> Page[str]:
        """List the ids of clients with a subscription that meets the pattern in at least one channel name."""
        ...

    async def subscribed_to(self, client_id: str) -> list[str]:
        """Return the patterns that a client subscribes to, ascending."""
        ...

    async def client_subscribed(self, client_id: str, pattern: str) -> bool:
        """Return whether the client subscribes to exactly this."""
        ...

    async def queue_for(self, client_id: str, messages: Sequence[Message]) -> QueueOutcome:
        """Append messages to a client's inbox.

        Raises:
            IdempotencyKeyReused, LimitMemory.
        """
        ...

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """Append each message once to every log that its channel matches, in order.

        Raises:
            IdempotencyKeyReused, LimitMemory, RateLimited.
        """
        ...

    async def claim(
        self, client_id: str, front_end: str, *, expires: bool, cursor: int = 0, checkpoint: Checkpoint | None = None
    ) -> Claim:
        """Claim a client for a new owner; a former owner loses it. Begins its session timeout anew.

        What a former owner in this process has confirmed counts, and `claimed` announces that it has lost the client.

        Args:
            client_id: the client.
            front_end: the owner's name.
            expires: the session timeout runs on although the client is held.
            cursor: the client has got everything up to what this stands for; 0 for nothing. One that was handed out
                once and is forgotten confirms nothing.
            checkpoint: the link's, which confirms for all of its clients; None if the client confirms by itself.

        Raises:
            FieldInvalid: the cursor was not handed out for this client. Nothing is changed, its owner keeps it.
            TakenOver: someone else has claimed it meanwhile.
        """
        ...

    def cursor_of(self, progress: Progress) -> int:
        """Return a number that names a client's progress; ascending in each process."""
        ...

    async def confirm(self, claim: Claim, progress: Progress) -> None:
        """Confirm everything up to here. Never moves back; a claim that was lost changes nothing.

        If the store does not answer, the engine confirms when it does.
        """
        ...

    async def release(self, claim: Claim, delivered: Delivered) -> None:
        """Release a client. Its session timeout begins anew unless it ran on. A claim that was lost changes nothing.

        Completes although the caller is cancelled. If the store does not answer, the engine releases when it does.
        """
        ...

    async def read(
        self, logs: Mapping[LogName, int], after: Progress, upto: Progress, *, messages: int, size: int
    ) -> LogsRead:
        """Read what logs hold beyond what a reader has: each message once, those of each partition in order.

        Args:
            logs: the logs, and in each the first offset that the reader does not have: messages that are gone from
                there on are a loss. A log that is gone itself holds nothing.
            after: the reader's progress.
            upto: a progress that was announced.
            messages: at most so many from each partition, 1 or more.
            size: about so many bytes, but at least one message.

        Raises:
            EngineUnavailable: nothing was read.
        """
        ...

    async def list_clients(self, page: PageRequest, *, pattern: str, front_end: str) -> Page[Client]:
        """List the clients that pass the filters; "" for no filter."""
        ...

    async def list_channels(self, page: PageRequest, *, pattern: str) -> Page[Channel]:
        """List the channels that pass the filter; "" for no filter."""
        ...

    async def holdings(self) -> Holdings:
        """Return how much the engine holds."""
        ...
