"""Publishing and queueing: each message is one operation of its channel's or its client's partition."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import TypeVar

from pixied_server.core import idempotency
from pixied_server.core.channels import logs_of
from pixied_server.core.completion import completed
from pixied_server.core.idempotency import scoped
from pixied_server.core.message import Message
from pixied_server.core.rate import TokenBucket
from pixied_server.engine.abc import Event, EventKind, PublishOutcome, QueueOutcome
from pixied_server.engine.redis.operations.clients import Clients
from pixied_server.engine.redis.operations.events import Events
from pixied_server.engine.redis.operations.ordered_queue import OrderedQueue
from pixied_server.engine.redis.operations.retention import Retention
from pixied_server.engine.redis.partition.codec import encoded, stored_size
from pixied_server.engine.redis.partition.protocol import Answer, KeyFull, KeyReused, Partition, Published
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.subscriber.subscriber import Subscriber
from pixied_server.errors import IdempotencyKeyReused, LimitMemory, RateLimited

__all__ = ["Publishing"]

T = TypeVar("T")


class _Reserved:
    """A key that is being reserved."""

    def __init__(self, partition: Partition, key: str, answer: Answer[bool]) -> None:
        self._partition = partition
        self._key = key
        self.answer = answer

    async def free(self) -> None:
        """Free the key again, unless it stood for a message before."""
        try:
            known = await self.answer
        except (KeyReused, KeyFull):
            return
        if not known:
            await self._partition.free_key(self._key)


class Publishing:
    """See the module.

    Args:
        process: this process.
        subscriber: receives what is published.
        clients: counts what a client has pending.
        events: shows what happens.
        retention: keeps all messages within their bounds.
    """

    def __init__(
        self, process: Process, subscriber: Subscriber, clients: Clients, events: Events, retention: Retention
    ) -> None:
        self._process = process
        self._subscriber = subscriber
        self._clients = clients
        self._events = events
        self._retention = retention
        self._publishes = TokenBucket(process.limits.publishes_per_second)
        self._queue: OrderedQueue[Sequence[Answer[Published]]] = OrderedQueue()

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """See `engine.abc.Engine`."""
        self._check_room(messages)
        if wait := self._publishes.take(len(messages), self._process.now()):
            raise RateLimited("publishes", self._publishes.rate, wait)
        with self._reserving() as reserved:
            return await completed(self._announced(messages, await self._in_order(messages, reserved)))

    async def _announced(
        self, messages: Sequence[Message], answers: Sequence[Answer[Published]]
    ) -> list[PublishOutcome]:
        """Wait for the answers to a publish, and count and show what was published."""
        published = await self._all(answers)
        now = self._process.now()
        outcomes = []
        for message, one in zip(messages, published, strict=True):
            outcomes.append(PublishOutcome(one.matched, one.duplicate))
            if one.duplicate:
                self._process.counters.duplicates += 1
                continue
            self._process.counters.published += 1
            if one.offsets:
                self._subscriber.appended(self._process.layout.of(message.channel), one.sequence, one.offsets)
            self._show_published(message, now, message.publisher, one.matched)
        await self._retention.keep_within()
        return outcomes

    @contextmanager
    def _reserving(self) -> Iterator[list[_Reserved]]:
        """Free the keys that were reserved in the context if it raises, in the background."""
        reserved: list[_Reserved] = []
        try:
            yield reserved
        except BaseException:
            for one in reserved:
                self._process.spawn(one.free())
            raise

    async def _in_order(self, messages: Sequence[Message], reserved: list[_Reserved]) -> Sequence[Answer[Published]]:
        """Publish once the keys are checked and all earlier calls have published.

        So a caller's messages stay in order, and concurrent calls check their keys concurrently: one after the other,
        each would wait for the store.
        """
        preparing = self._prepare("", messages, reserved)
        if not preparing and not self._queue:
            return self._published(messages)
        return await self._queue.do(lambda: self._published(messages), preparing)

    def _prepare(
        self, client_id: str, messages: Sequence[Message], reserved: list[_Reserved]
    ) -> Awaitable[None] | None:
        """Return what has to be done about keys before messages are published or queued.

        The script that publishes a message checks its key. Of several messages one could be refused after others were
        published, so their keys are reserved first.
        """
        if not any(message.key for message in messages):
            return None
        if len(messages) > 1:
            return self._reserve(client_id, messages, reserved)
        return self._process.refresh() if self._keys_are_full() else None

    def _keys_are_full(self) -> bool:
        return self._free_keys() <= 0

    def _free_keys(self) -> int:
        return self._process.limits.idempotency_keys - self._process.held(lambda totals: totals.keys)

    def _published(self, messages: Sequence[Message]) -> Sequence[Answer[Published]]:
        return [
            self._process.home(message.channel).publish(
                scoped(message),
                _fingerprint(message),
                room=self._has_room(message),
                bounds=self._bounds,
                stored=encoded(message),
                patterns=logs_of(message.channel),
            )
            for message in messages
        ]

    async def _all(self, answers: Sequence[Answer[Published]]) -> list[Published]:
        await asyncio.gather(*[answer.result for answer in answers])
        return [await self._key_checked(answer, index) for index, answer in enumerate(answers)]

    async def queue_for(self, client_id: str, messages: Sequence[Message]) -> QueueOutcome:
        """See `engine.abc.Engine`."""
        self._check_room(messages)
        with self._reserving() as reserved:
            if preparing := self._prepare(client_id, messages, reserved):
                await preparing
            return await completed(self._queued(client_id, messages))

    async def _queued(self, client_id: str, messages: Sequence[Message]) -> QueueOutcome:
        """Queue messages, and count and show them."""
        home = self._process.home(client_id)
        queued = await self._all(
            [
                home.queue(
                    client_id,
                    scoped(message, client_id),
                    _fingerprint(message),
                    room=self._has_room(message),
                    bounds=self._bounds,
                    stored=encoded(message),
                )
                for message in messages
            ]
        )
        now = self._process.now()
        duplicates = 0
        for message, one in zip(messages, queued, strict=True):
            duplicates += one.duplicate
            if not one.duplicate:
                self._subscriber.appended(home.number, one.sequence, one.offsets)
                self._process.counters.queued += 1
                self._show_published(message, now, client_id, 1)
        self._process.counters.duplicates += duplicates
        await self._retention.keep_within()
        return QueueOutcome(await self._clients.pending(client_id, await home.look(client_id)), duplicates)

    @property
    def _bounds(self) -> tuple[int, int]:
        return self._process.limits.log.messages, self._process.limits.log.bytes

    def _has_room(self, message: Message) -> bool:
        return not message.key or not self._keys_are_full()

    def _check_room(self, messages: Sequence[Message]) -> None:
        size = sum([stored_size(encoded(message)) for message in messages])
        if size > self._process.limits.total_bytes:
            raise LimitMemory(
                f"these messages take {size:,} bytes; max_total_bytes is {self._process.limits.total_bytes:,}: "
                "send smaller batches",
                field="messages",
            )

    async def _reserve(self, client_id: str, messages: Sequence[Message], reserved: list[_Reserved]) -> None:
        """Reserve each key for its message, or none if one of them stands for another message."""
        if client_id:
            await self._process.home(client_id).look(client_id)
        keyed = [(index, message) for index, message in enumerate(messages) if message.key]
        # One after the other only where some may be one too many: each waits for the store.
        at_once = len(keyed) if self._free_keys() >= len(keyed) else 1
        for begin in range(0, len(keyed), at_once):
            if self._keys_are_full():
                await self._process.refresh()
            answers = []
            for index, message in keyed[begin : begin + at_once]:
                key = scoped(message, client_id)
                partition = self._process.home(client_id or message.channel)
                answer = partition.reserve_key(key, _fingerprint(message), room=self._has_room(message))
                reserved.append(_Reserved(partition, key, answer))
                answers.append((index, answer))
            # Whether the caller is cancelled or one is refused: all have to be known then, to be freed.
            await asyncio.shield(asyncio.gather(*[answer.result for _, answer in answers], return_exceptions=True))
            for index, answer in answers:
                await self._key_checked(answer, index)

    async def _key_checked(self, answer: Answer[T], index: int) -> T:
        """Return an answer that has come.

        Raises:
            IdempotencyKeyReused, LimitMemory: the key stands for another message, or there are too many keys.
        """
        try:
            return await answer
        except KeyReused:
            raise IdempotencyKeyReused(f"messages[{index}].idempotency_key") from None
        except KeyFull as full:
            raise LimitMemory(
                f"max_idempotency_keys ({self._process.limits.idempotency_keys:,}) are in use; "
                "try again when the oldest is 5 minutes old",
                retry_after=full.oldest and full.oldest + idempotency.SECONDS - self._process.now(),
            ) from None

    def _show_published(self, message: Message, at: float, client_id: str, recipients: int) -> None:
        if self._events.watched(EventKind.PUBLISHED):
            self._events.show(Event.published(message, at, client_id, recipients))


def _fingerprint(message: Message) -> str:
    if not message.key:
        return ""
    digest = blake2b(digest_size=12)
    for part in (message.channel.encode(), message.publisher.encode(), message.body):
        digest.update(len(part).to_bytes(4, "big") + part)
    digest.update(bytes([message.exclude_publisher]))
    return digest.hexdigest()
