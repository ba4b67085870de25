"""The Redis engine."""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import TypeVar

from pixied_server.core.backlog import Loss
from pixied_server.core.completion import completed
from pixied_server.core.log import Entry
from pixied_server.core.message import Message
from pixied_server.core.paging import Page, PageRequest
from pixied_server.core.progress import Progress
from pixied_server.core.together import together
from pixied_server.engine.abc import (
    Channel,
    Checkpoint,
    Claim,
    Client,
    Delivered,
    EndReason,
    Event,
    EventKind,
    Holdings,
    Listener,
    LogName,
    LogsRead,
    PublishOutcome,
    QueueOutcome,
)
from pixied_server.engine.limits import EngineLimits
from pixied_server.engine.redis.connection.store import Store
from pixied_server.engine.redis.operations.clients import Clients
from pixied_server.engine.redis.operations.events import Events
from pixied_server.engine.redis.operations.listing import Listing
from pixied_server.engine.redis.operations.publishing import Publishing
from pixied_server.engine.redis.operations.reading import read_logs
from pixied_server.engine.redis.operations.retention import Retention
from pixied_server.engine.redis.operations.subscriptions import Subscriptions
from pixied_server.engine.redis.ownership.checkpoints import Checkpoints
from pixied_server.engine.redis.ownership.claim import RedisClaim
from pixied_server.engine.redis.ownership.ownership import Ownership
from pixied_server.engine.redis.partition.layout import VERSION, Layout
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.requests import Requests
from pixied_server.engine.redis.subscriber.subscriber import Subscriber
from pixied_server.engine.redis.upkeep.repair import Repair
from pixied_server.engine.redis.upkeep.upkeep import Upkeep
from pixied_server.errors import ClientUnknown, EngineUnavailable, PixiedError

__all__ = ["RedisEngine"]

T = TypeVar("T")


class RedisEngine:
    """Clients, subscriptions and logs in Redis. See `engine.abc.Engine` for what it does, docs/redis.md for how.

    This class composes its parts, each of which has its own file, and passes notifications on to them.

    Args:
        store: the store, open.
        layout: the names of its keys.
        limits: what it holds at most.
        timeout: seconds that a barrier of the store may take.
        peer_timeout: seconds that another process has to answer, or to yield a client.
        replicas: a change is answered only when so many replicas have it.
        clock: tells the time in seconds since the epoch; None for the store's own.
    """

    name = "redis"

    def __init__(
        self,
        store: Store,
        layout: Layout,
        limits: EngineLimits,
        *,
        timeout: float,
        peer_timeout: float = 0.5,
        replicas: int = 0,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.process = Process(store, layout, limits, replicas, clock)
        self.counters = self.process.counters
        self.subscriber = Subscriber(store, self.process.partitions, self.process.name, self, timeout)
        self.checkpoints = Checkpoints(self.process)
        requests = Requests(self.process, peer_timeout)
        self._ownership = Ownership(self.process, self.subscriber, self.checkpoints, requests, peer_timeout)
        self._events = Events(self.process, requests)
        self._subscriptions = Subscriptions(self.process, self._ownership, self._events)
        self._clients = Clients(self.process, self._ownership, self._subscriptions, self._events)
        retention = Retention(self.process)
        for partition in self.process.partitions:
            partition.make_room = retention.make_room
        self._publishing = Publishing(self.process, self.subscriber, self._clients, self._events, retention)
        self._listing = Listing(layout, self.process.partitions)
        self._cursors: Iterator[int]
        self.repair = Repair(self.process, self._subscriptions)
        self.upkeep = Upkeep(
            self.process,
            self.subscriber,
            self._ownership,
            self._subscriptions,
            self.checkpoints,
            self._events,
            self.repair,
        )
        self._notifications: Mapping[str, Callable[..., None]] = {
            "G": self._on_gone,
            "B": self._ownership.changes.on_subscribed,
            "U": self._ownership.changes.on_unsubscribed,
            "Y": self._ownership.on_wanted,
            "R": self._ownership.on_yielded,
            "C": self._ownership.on_claimed,
            "K": self._ownership.changes.on_change,
            "D": self._ownership.changes.on_destroyed,
            "A": requests.on_answer,
            "E": self._events.on_event,
            "W": self._events.on_watched,
        }

    @property
    def listener(self) -> Listener:
        """See `engine.abc.Engine`."""
        return self.process.listener

    @listener.setter
    def listener(self, listener: Listener) -> None:
        self.process.listener = listener

    @property
    def head(self) -> Progress:
        """See `engine.abc.Engine`."""
        return self.subscriber.progress

    # Life

    async def open(self) -> None:
        """Connect, and begin to receive.

        Raises:
            EngineUnavailable: the store can't be reached, or has a layout that this version does not know.
        """
        await self._check_layout()
        self._cursors = count(await self.process.partitions[0].first_cursor())
        await self.upkeep.enter()
        await self.subscriber.open()

    async def _check_layout(self) -> None:
        for partition in self.process.partitions:
            version, partitions = await partition.layout(VERSION, self.process.layout.partitions)
            if version != str(VERSION):
                raise EngineUnavailable(
                    f"its layout is version {version or '?'}, this pixied knows version {VERSION}; "
                    "use another prefix or database, or the pixied that wrote it"
                )
            if partitions != self.process.layout.partitions:
                raise EngineUnavailable(
                    f"it has {partitions} partitions and the settings say {self.process.layout.partitions}: "
                    "they can only be changed while it is empty"
                )

    async def close(self) -> None:
        """Release this process's clients and leave the store."""
        await self.process.close()
        await self.subscriber.close()
        with suppress(PixiedError):
            # Other processes reap clients that could not be released, when they miss this one's heartbeats.
            await self.checkpoints.write()
            await self.upkeep.leave()

    async def run(self) -> None:
        """See `engine.abc.Engine`."""
        await self.upkeep.run()

    async def tick(self) -> None:
        """Do now what is due."""
        await self.upkeep.tick()

    @property
    def trouble(self) -> str:
        """See `engine.abc.Engine`."""
        if not self.subscriber.receives:
            return self.subscriber.trouble or "its notifications are not received"
        for partition in self.process.partitions:
            if partition.trouble:
                return partition.trouble
            if partition.full:
                return "the store has no memory left (maxmemory): raise it, or lower max_total_bytes"
            if not partition.replicated:
                return "fewer replicas than redis_min_replicas have what was changed"
        return ""

    @property
    def busy(self) -> bool:
        """Whether an answer of the store is under way."""
        return self.process.busy

    async def settle(self) -> None:
        """Wait until all that was published by now was received, and its consequences are done."""
        await self.subscriber.barrier()
        while await self.process.finish():
            await self.subscriber.barrier()

    async def together(self, operations: Iterable[Awaitable[T]]) -> list[T | PixiedError]:
        """See `engine.abc.Engine`."""
        return await together(operations)

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

    async def ping_clients(self, client_ids: Sequence[str]) -> dict[str, float | None]:
        """See `engine.abc.Engine`."""
        return await self._clients.ping_all(client_ids)

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

    # Messages

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """See `engine.abc.Engine`."""
        return await self._publishing.publish(messages)

    async def queue_for(self, client_id: str, messages: Sequence[Message]) -> QueueOutcome:
        """See `engine.abc.Engine`."""
        return await self._publishing.queue_for(client_id, messages)

    async def claim(
        self, client_id: str, front_end: str, *, expires: bool, cursor: int = 0, checkpoint: Checkpoint | None = None
    ) -> RedisClaim:
        """See `engine.abc.Engine`."""
        return await self._ownership.claim(client_id, front_end, expires=expires, cursor=cursor, checkpoint=checkpoint)

    def cursor_of(self, progress: Progress) -> int:
        """See `engine.abc.Engine`."""
        del progress
        return next(self._cursors)

    async def confirm(self, claim: Claim, progress: Progress) -> None:
        """See `engine.abc.Engine`."""
        await self._ownership.confirm(claim, progress)

    async def release(self, claim: Claim, delivered: Delivered) -> None:
        """See `engine.abc.Engine`."""
        await completed(self._ownership.release(claim, delivered))

    async def read(
        self, logs: Mapping[LogName, int], after: Progress, upto: Progress, *, messages: int, size: int
    ) -> LogsRead:
        """See `engine.abc.Engine`."""
        return await read_logs(
            self.process.partitions,
            logs,
            after,
            upto,
            messages=messages,
            size=size,
            announced=self.subscriber.announced,
        )

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
        totals = [partition.totals for partition in self.process.partitions]
        return Holdings(
            clients=sum(one.clients for one in totals),
            channels=sum(one.patterns for one in totals),
            subscriptions=sum(one.subscriptions for one in totals),
            messages=sum(one.messages for one in totals),
            bytes=sum(one.bytes for one in totals),
            namespaces=sum(one.namespaces for one in totals),
        )

    def watched(self, kind: EventKind) -> bool:
        """See `engine.abc.Engine`."""
        return self._events.watched(kind)

    def show(self, event: Event) -> None:
        """See `engine.abc.Engine`."""
        self._events.show(event)

    async def watch(self) -> None:
        """See `engine.abc.Engine`."""
        self.subscriber.watch()
        await self.upkeep.beat()
        await self._events.ask_for()
        await self.subscriber.barrier((0,))

    # What this process receives (`subscriber.Receiver`)

    def message(self, entry: Entry, appended: Sequence[tuple[str, int]]) -> None:
        """See `Receiver`."""
        self.listener.published(entry, appended)

    def own_message(self, client_id: str, entry: Entry) -> None:
        """See `Receiver`."""
        self.listener.queued(client_id, entry)

    def missed(self, loss: Loss) -> None:
        """See `Receiver`."""
        self.listener.missed(loss)

    def own_missed(self, client_id: str, loss: Loss) -> None:
        """See `Receiver`."""
        self.listener.own_missed(client_id, loss)

    def restored(self, partition: int) -> None:
        """See `Receiver`."""
        self.process.spawn(self._remind(partition))
        self.process.spawn(self._ownership.check(partition))

    async def _remind(self, partition: int) -> None:
        await self.process.partitions[partition].remind(VERSION, self.process.layout.partitions)

    def notified(self, kind: str, words: Sequence[str]) -> None:
        """See `Receiver`."""
        self._notifications[kind](*words)

    def _on_gone(self, client_id: str, reason: str, *detail: str) -> None:
        ended = EndReason.EXPIRED if reason == "expired" else EndReason.DESTROYED
        self._ownership.gone(client_id, ended, "\n".join(detail))
