"""The Redis engine."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress

from pixied_server.core.backlog import Portion
from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.core.paging import Page, PageRequest
from pixied_server.engine.abc import (
    Channel,
    Claim,
    Client,
    Event,
    EventKind,
    Holdings,
    Keeper,
    Listener,
    Parting,
    PublishOutcome,
    QueueOutcome,
)
from pixied_server.engine.limits import EngineLimits
from pixied_server.engine.redis.asking import Asking
from pixied_server.engine.redis.behind import Behind
from pixied_server.engine.redis.claim import Place, RedisClaim
from pixied_server.engine.redis.claims import Claims
from pixied_server.engine.redis.clients import Clients
from pixied_server.engine.redis.events import Events
from pixied_server.engine.redis.following import Following
from pixied_server.engine.redis.housekeeping import Housekeeping
from pixied_server.engine.redis.layout import VERSION, Layout
from pixied_server.engine.redis.listing import Listing
from pixied_server.engine.redis.positions import BITS
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.progress import Progress
from pixied_server.engine.redis.publishing import Publishing
from pixied_server.engine.redis.repair import Repair
from pixied_server.engine.redis.store import Store
from pixied_server.engine.redis.subscriptions import Subscriptions
from pixied_server.errors import ClientUnknown, EngineUnavailable, PixiedError

__all__ = ["RedisEngine"]

# So many processes are told apart by the positions they give.
_ORDINALS = 8_191


class RedisEngine:
    """Clients, subscriptions and logs in Redis. See `engine.abc.Engine` for what it does, docs/redis.md for how.

    It is made of parts, each of which has its own file; here they are put together, and told what the store tells.

    Args:
        store: the store, open.
        layout: where things are in it.
        limits: what it holds at most.
        patience: so many seconds a mark of the store may take.
        replicas: what changes something is only answered when so many replicas have it.
        clock: tells the time in seconds since the epoch; None for the store's own.
    """

    name = "redis"
    waits = True

    def __init__(
        self,
        store: Store,
        layout: Layout,
        limits: EngineLimits,
        *,
        patience: float = 2.0,
        replicas: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.process = Process(store, layout, limits, replicas, clock)
        self.counters = self.process.counters
        self.following = Following(
            store, self.process.partitions, self.process.positions, self.process.name, self, patience
        )
        self._progress = Progress(self.process)
        asking = Asking(self.process)
        self._claims = Claims(self.process, self.following, self._progress, asking)
        self._events = Events(self.process, asking)
        self._subscriptions = Subscriptions(self.process, self._claims, self._events)
        self._clients = Clients(self.process, self._claims, self._subscriptions, self._events)
        self._publishing = Publishing(self.process, self.following, self._clients, self._events)
        self._listing = Listing(layout, self.process.partitions)
        self._behind = Behind(
            self.process.partitions,
            self.process.positions,
            limits.log.messages,
            self._cut,
        )
        self.repair = Repair(self.process, self._subscriptions)
        self.housekeeping = Housekeeping(
            self.process,
            self.following,
            self._claims,
            self._subscriptions,
            self._progress,
            self._behind,
            self._events,
            self.repair,
        )
        self._news: Mapping[str, Callable[..., None]] = {
            "G": self._hear_gone,
            "B": self._claims.hear_subscribed,
            "U": self._claims.hear_unsubscribed,
            "Y": self._claims.hear_wanted,
            "R": self._claims.hear_yielded,
            "C": self._claims.hear_claimed,
            "Q": self._claims.bookmarks.hear_question,
            "K": self._claims.hear_change,
            "A": asking.hear_answer,
            "E": self._events.hear,
            "W": self._events.hear_watched,
        }

    @property
    def listener(self) -> Listener:
        """See `engine.abc.Engine`."""
        return self.process.listener

    @listener.setter
    def listener(self, listener: Listener) -> None:
        self.process.listener = listener

    @property
    def head(self) -> int:
        """See `engine.abc.Engine`."""
        return self.process.positions.head

    # Life

    async def open(self) -> None:
        """Connect, and begin to hear.

        Raises:
            EngineUnavailable: the store can't be reached, or has a layout that this version does not know.
        """
        await self._check_layout()
        (_, ordinal) = await self.process.partitions[0].do("ordinal", _ORDINALS)
        self.process.positions.head = int(ordinal) << BITS
        await self.housekeeping.enter()
        await self.following.open()

    async def _check_layout(self) -> None:
        for partition in self.process.partitions:
            _, version, partitions = await partition.do("layout", VERSION, self.process.layout.partitions)
            if int(version or 0) != VERSION:
                raise EngineUnavailable(
                    f"its layout is version {version.decode() or '?'}, this pixied knows version {VERSION}; "
                    "use another prefix or database, or the pixied that wrote it"
                )
            if int(partitions) != self.process.layout.partitions:
                raise EngineUnavailable(
                    f"it has {int(partitions)} partitions and the settings say {self.process.layout.partitions}: "
                    "they can only be changed while it is empty"
                )

    async def close(self) -> None:
        """Let go of the store."""
        await self.process.close()
        await self.following.close()
        with suppress(PixiedError):
            await self.housekeeping.leave()

    async def run(self) -> None:
        """See `engine.abc.Engine`."""
        await self.housekeeping.run()

    async def tick(self) -> None:
        """Do what is due at this moment."""
        await self.housekeeping.tick()

    @property
    def healthy(self) -> bool:
        """See `engine.abc.Engine`."""
        return self.following.hears and all(one.answers and one.replicated for one in self.process.partitions)

    @property
    def busy(self) -> bool:
        """Whether an answer of the store is waited for."""
        return self.process.busy

    async def settle(self) -> None:
        """Wait until everything that was told by now has been heard, and what that demands has been done."""
        await self.following.sync()
        while await self.process.finish():
            await self.following.sync()

    # Clients and namespaces

    async def generate_namespace(self, length: int) -> str:
        """See `engine.abc.Engine`."""
        return await self._clients.generate_namespace(length)

    async def release_namespace(self, namespace: str) -> None:
        """See `engine.abc.Engine`."""
        await self._clients.release_namespace(namespace)

    async def create_client(self, session_timeout: float, attributes: Mapping[str, str]) -> Client:
        """See `engine.abc.Engine`."""
        return await self._clients.create(session_timeout, attributes)

    async def get_client(self, client_id: str) -> Client:
        """See `engine.abc.Engine`."""
        return await self._clients.get(client_id)

    async def ping_client(self, client_id: str) -> float | None:
        """See `engine.abc.Engine`."""
        return await self._clients.ping(client_id)

    async def destroy_client(self, client_id: str, reason: str) -> None:
        """See `engine.abc.Engine`."""
        await self._clients.destroy(client_id, reason)

    # Subscriptions

    async def subscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        return await self._subscriptions.subscribe(client_id, patterns)

    async def unsubscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        return await self._subscriptions.unsubscribe(client_id, patterns)

    async def subscribers_of(self, pattern: str, page: PageRequest) -> Page[str]:
        """See `engine.abc.Engine`."""
        return await self._listing.subscribers_of(pattern, page)

    async def subscribed_to(self, client_id: str) -> list[str]:
        """See `engine.abc.Engine`."""
        return await self._subscriptions.subscribed_to(client_id)

    async def client_subscribed(self, client_id: str, pattern: str) -> bool:
        """See `engine.abc.Engine`."""
        return await self._subscriptions.client_subscribed(client_id, pattern)

    # Mail

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """See `engine.abc.Engine`."""
        return await self._publishing.publish(messages)

    async def queue_for(self, client_id: str, messages: Sequence[Message]) -> QueueOutcome:
        """See `engine.abc.Engine`."""
        return await self._publishing.queue_for(client_id, messages)

    async def claim(
        self, client_id: str, front_end: str, *, expires: bool, cursor: int = 0, keeper: Keeper | None = None
    ) -> RedisClaim:
        """See `engine.abc.Engine`."""
        return await self._claims.claim(client_id, front_end, expires=expires, cursor=cursor, keeper=keeper)

    async def confirm(self, claim: Claim, position: int) -> None:
        """See `engine.abc.Engine`."""
        await self._claims.confirm(claim, position)

    async def release(self, claim: Claim, *, confirmed: int, sent: int) -> None:
        """See `engine.abc.Engine`."""
        await self._claims.release(claim, confirmed=confirmed, sent=sent)

    async def read(self, patterns: Collection[str], after: int, upto: int, *, messages: int, size: int) -> Portion:
        """See `engine.abc.Engine`."""
        logs = [(partition, pattern) for pattern in patterns for partition in self.process.layout.of_log(pattern)]
        return await self._behind.read(logs, after, upto, messages=messages, size=size)

    # Looking inside

    async def list_clients(self, page: PageRequest, *, pattern: str, front_end: str) -> Page[Client]:
        """See `engine.abc.Engine`."""

        async def described(client_id: str) -> Client | None:
            try:
                client = await self._clients.get(client_id)
            except ClientUnknown:
                return None
            return client if not front_end or client.front_end == front_end else None

        return await self._listing.clients(page, pattern, described)

    async def list_channels(self, page: PageRequest, *, pattern: str) -> Page[Channel]:
        """See `engine.abc.Engine`."""
        return await self._listing.channels(page, pattern)

    async def holdings(self) -> Holdings:
        """See `engine.abc.Engine`."""
        await self.process.refresh()
        held = [partition.holds for partition in self.process.partitions]
        return Holdings(
            clients=sum(one.clients for one in held),
            channels=sum(one.patterns for one in held),
            subscriptions=sum(one.subscriptions for one in held),
            messages=sum(one.messages for one in held),
            bytes=sum(one.bytes for one in held),
            namespaces=sum(one.namespaces for one in held),
        )

    def watched(self, kind: EventKind) -> bool:
        """See `engine.abc.Engine`."""
        return self._events.watched(kind)

    def show(self, event: Event) -> None:
        """See `engine.abc.Engine`."""
        self._events.show(event)

    async def watch(self) -> None:
        """See `engine.abc.Engine`."""
        self.following.watch(watching=True)
        await self.housekeeping.beat()
        await self._events.ask_for()
        await self.following.sync((0,))

    # What this process is told (`following.Audience`)

    def mail(self, entry: Entry, patterns: Sequence[str]) -> None:
        """See `Audience`."""
        self._behind.note(entry.position, patterns)
        self.listener.mail(entry, patterns)

    def own_mail(self, client_id: str, entry: Entry, place: int, offset: int) -> None:
        """See `Audience`."""
        claim = self._claims.held.get(client_id)
        if claim is None:
            return
        if claim.hear(entry.position, (self.process.layout.of(client_id), ""), Place(place, offset)):
            self.listener.mail_for(client_id, entry)
        else:
            self.listener.behind(client_id)

    def _cut(self, pattern: str, position: int) -> None:
        self.listener.cut(pattern, position)

    def missed(self, pattern: str, position: int) -> None:
        """See `Audience`."""
        self.listener.missed(pattern, position)

    def restored(self, partition: int) -> None:
        """See `Audience`."""
        self.process.spawn(self._remind(partition))
        # At once: what they have confirmed must not be written down as if they had heard everything.
        self._claims.fall_behind(partition)
        self.process.spawn(self._claims.check(partition))

    async def _remind(self, partition: int) -> None:
        ordinal = self.process.positions.head >> BITS
        await self.process.partitions[partition].do("remind", VERSION, self.process.layout.partitions, ordinal)

    def told(self, kind: str, words: Sequence[str]) -> None:
        """See `Audience`."""
        self._news[kind](*words)

    def _hear_gone(self, client_id: str, parting: str, *reason: str) -> None:
        ended = Parting.EXPIRED if parting == "expired" else Parting.DESTROYED
        self._claims.gone(client_id, ended, "\n".join(reason))
