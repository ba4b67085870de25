"""What every engine does. The docstrings here are its specification; `tests/engine` holds all engines to it.

Common to all operations:

- Atomic: an operation happens wholly or, when it raises, not at all. What it raises is a `PixiedError`.
- Arguments are valid: names, sizes and ranges were checked at the edge. Engines check only what needs their state.
- Mail and events are announced to the listener in the order in which they happened: before the operation that caused
  them returns, or, where an engine waits for a store, as soon as the store tells of them. The listener's methods are
  plain functions that do not fail and must not call the engine back.
- Positions are numbers below 2^53. They name places in the order in which mail was announced here; 0 is none.
- Unless an operation says otherwise, an unknown, expired or destroyed client raises `ClientUnknown`.
- Times are seconds since the epoch, durations are seconds.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol, Self

from pixied_server.core.backlog import Loss, Portion
from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.core.paging import Page, PageRequest

__all__ = [
    "NOT_HANDED_OUT",
    "Channel",
    "Claim",
    "Client",
    "Counters",
    "Engine",
    "Event",
    "EventKind",
    "Holdings",
    "Keeper",
    "Listener",
    "Parting",
    "PublishOutcome",
    "QueueOutcome",
    "Reading",
]


NOT_HANDED_OUT = "it was not handed out for this client; leave it empty, or name a cursor that was"


class EventKind(Enum):
    """What watchers can be told, as in the contract's `EventKind`."""

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
        """A message was published by a client, "" for none, or queued for one."""
        return cls(
            EventKind.PUBLISHED,
            at,
            client_id=client_id,
            channel=message.channel,
            message_id=message.id,
            recipients=recipients,
        )


class Parting(Enum):
    """Why a session ended."""

    DESTROYED = auto()
    EXPIRED = auto()


# Values that operations answer with are not frozen: to make a frozen one takes up to 3 times as long.
@dataclass(slots=True)
class Client:
    """A session, as it is at one moment.

    Attributes:
        expires_at: None while a holder keeps it alive.
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


@dataclass(slots=True)
class Reading:
    """What one read of a client's mail gave.

    Attributes:
        entries: in order, each once, at ascending positions.
        redelivered: so many of them, from the first on, may have been delivered before.
        losses: what was found missing.
        upto: everything up to this position has now been read.
        done: there is nothing more: all that was announced up to `upto` has been read.
    """

    entries: list[Entry]
    redelivered: int
    losses: Sequence[Loss]
    upto: int
    done: bool


class Claim(Protocol):
    """The mail of a client that someone has claimed: a reader of its logs from what it has confirmed on."""

    client_id: str
    number: int
    """No other claim has it; a later claim has a higher one."""

    async def read(self, *, messages: int, size: int) -> Reading:
        """Read on, in order and one copy of each message, at most to what was announced by now. Confirms nothing.

        Args:
            messages: at most so many, 1 or more.
            size: about so many bytes, but at least one message.
        """
        ...

    def join(self) -> None:
        """A read was done: beyond its `upto` the client gets its mail as it is announced."""
        ...

    def seek(self, position: int) -> None:
        """The client got its mail as it was announced up to a position: from there it reads on."""
        ...

    def patterns(self) -> Sequence[str]:
        """The patterns the client subscribes to."""
        ...


class Keeper(Protocol):
    """Who holds many clients at once, and confirms for all of them that have joined."""

    def confirmed(self) -> int:
        """Everything up to this position is confirmed for every client that had joined by then."""
        ...


class Listener(Protocol):
    """Who is told what happens in an engine."""

    @property
    def wanted(self) -> Collection[EventKind]:
        """The kinds of events that anyone watches for; of others engines need not tell."""
        ...

    def progress(self, client_id: str) -> tuple[int, int] | None:
        """Up to which positions a client that is held here has confirmed its mail, and may have got it."""
        ...

    def mail(self, entry: Entry, patterns: Sequence[str]) -> None:
        """A message was appended to the logs of these patterns, one or more. Called in order of position."""
        ...

    def mail_for(self, client_id: str, entry: Entry) -> None:
        """A message was appended to a client's inbox. Called in order of position, with `mail`."""
        ...

    def cut(self, pattern: str, position: int) -> None:
        """The log of a pattern lost the entry at a position, which was announced and someone may not have read."""
        ...

    def missed(self, pattern: str, position: int) -> None:
        """The log of a pattern lost an entry before it could be announced; it would have had this position."""
        ...

    def subscribed(self, client_id: str, pattern: str, position: int) -> None:
        """A client gets what is published to the pattern beyond the position."""
        ...

    def behind(self, client_id: str) -> None:
        """A client has mail, or may have, that is not announced to it: it has to read on."""
        ...

    def unsubscribed(self, client_id: str, pattern: str) -> None:
        """A client gets nothing more through the pattern."""
        ...

    def gone(self, client_id: str, parting: Parting, detail: str) -> None:
        """A session ended."""
        ...

    def claimed(self, client_id: str) -> None:
        """Someone else has claimed the client."""
        ...

    def happened(self, event: Event) -> None:
        """Something happened that a watcher may want to know."""
        ...

    def unread(self) -> int:
        """Announced mail beyond this position may yet have to be read again, by `Engine.read`."""
        ...


class Engine(Protocol):
    """Clients, subscriptions and logs."""

    name: str
    waits: bool
    """Whether operations wait for a store: then whoever has many does well to begin them all at once."""
    counters: Counters
    listener: Listener
    """Set before anything else is called."""

    @property
    def head(self) -> int:
        """All mail up to this position has been announced."""
        ...

    @property
    def healthy(self) -> bool:
        """Whether its store answers."""
        ...

    async def run(self) -> None:
        """Do what time demands, until cancelled.

        Sessions end within 100 ms of their deadline, never before it; mail that is too old goes.
        """
        ...

    def watched(self, kind: EventKind) -> bool:
        """Whether anyone wants events of this kind, here or in another process."""
        ...

    def show(self, event: Event) -> None:
        """Show an event of this process to all who watch."""
        ...

    async def watch(self) -> None:
        """Someone begins to watch here: once this returns, the events of all processes are shown."""
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
        """Tell what is known of a client."""
        ...

    async def ping_client(self, client_id: str) -> float | None:
        """Begin the session timeout anew. Returns the new expiry, or None while a holder keeps the client alive."""
        ...

    async def destroy_client(self, client_id: str, reason: str) -> None:
        """End a session: subscriptions, unread mail and identifier go, channels without subscribers too."""
        ...

    async def subscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """Subscribe to all patterns. Returns those that are new, in their order, each once. Idempotent.

        Raises:
            LimitSubscriptions: nothing was subscribed.
        """
        ...

    async def unsubscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """End subscriptions and give up their pending mail. Returns those that existed. Idempotent."""
        ...

    async def subscribers_of(self, pattern: str, page: PageRequest) -> Page[str]:
        """The ids of clients with a subscription that meets the pattern in at least one channel name."""
        ...

    async def subscribed_to(self, client_id: str) -> list[str]:
        """The patterns a client subscribes to, ascending."""
        ...

    async def client_subscribed(self, client_id: str, pattern: str) -> bool:
        """Whether the client subscribes to exactly this."""
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
        self, client_id: str, front_end: str, *, expires: bool, cursor: int = 0, keeper: Keeper | None = None
    ) -> Claim:
        """Take a client; whoever held it before no longer does. Begins its session timeout anew.

        What a holder in this process has confirmed counts, and the listener is told that it has lost the client.

        Args:
            client_id: the client.
            front_end: the holder's name.
            expires: the session timeout runs on although the client is held.
            cursor: the client has got everything up to this position; 0 for nothing.
            keeper: whoever confirms for the client and others together; None if each confirms by itself.

        Raises:
            FieldInvalid: the cursor was not handed out for this client. Nothing is changed, whoever holds it keeps it.
            TakenOver: someone else has claimed it meanwhile.
        """
        ...

    async def confirm(self, claim: Claim, position: int) -> None:
        """The client has got everything up to a position. Never moves back; a claim that was lost changes nothing."""
        ...

    async def release(self, claim: Claim, *, confirmed: int, sent: int) -> None:
        """Give a client up. Its session timeout begins anew unless it ran on. A claim that was lost changes nothing.

        Args:
            claim: what `claim` gave.
            confirmed: the client has got everything up to this position; 0 if nothing is known.
            sent: it may have got everything up to this position.
        """
        ...

    async def read(self, patterns: Collection[str], after: int, upto: int, *, messages: int, size: int) -> Portion:
        """What the logs of these patterns hold beyond the position `after`: in order, each message once.

        Args:
            patterns: channels and patterns; those without a log have nothing.
            after: a position.
            upto: a position that was announced.
            messages: at most so many, 1 or more.
            size: about so many bytes, but at least one message.
        """
        ...

    async def list_clients(self, page: PageRequest, *, pattern: str, front_end: str) -> Page[Client]:
        """The clients that pass the filters; "" for no filter."""
        ...

    async def list_channels(self, page: PageRequest, *, pattern: str) -> Page[Channel]:
        """The channels that pass the filter; "" for no filter."""
        ...

    async def holdings(self) -> Holdings:
        """How much there is."""
        ...
