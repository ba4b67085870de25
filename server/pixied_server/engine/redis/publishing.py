"""Publishing and queueing: each message is one operation of its channel's or its client's partition."""

import asyncio
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any

from pixied_server.core import idempotency
from pixied_server.core.channels import logs_of
from pixied_server.core.idempotency import scoped
from pixied_server.core.message import Message
from pixied_server.core.rate import TokenBucket
from pixied_server.engine.abc import Event, EventKind, PublishOutcome, QueueOutcome
from pixied_server.engine.redis.clients import Clients
from pixied_server.engine.redis.events import Events
from pixied_server.engine.redis.following import Following
from pixied_server.engine.redis.line import Line
from pixied_server.engine.redis.mail import encoded
from pixied_server.engine.redis.partition import Partition
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.records import look
from pixied_server.errors import ClientUnknown, IdempotencyKeyReused, LimitMemory, PixiedError, RateLimited

__all__ = ["Publishing"]

# A key that is reserved: its partition, the key, and what the partition says.
_Reserved = tuple[Partition, str, Awaitable[list[Any]]]


class Publishing:
    """See the module.

    Args:
        process: this process.
        following: what it is told.
        clients: know what a client has pending.
        events: shows what happens.
    """

    def __init__(self, process: Process, following: Following, clients: Clients, events: Events) -> None:
        self._process = process
        self._following = following
        self._clients = clients
        self._events = events
        self._publishes = TokenBucket(process.limits.publishes_per_second)
        self._line: Line[list[Awaitable[list[Any]]]] = Line()

    async def publish(self, messages: Sequence[Message]) -> list[PublishOutcome]:
        """See `engine.abc.Engine`."""
        self._check_room(messages)
        if wait := self._publishes.take(len(messages), self._process.now()):
            raise RateLimited("publishes", self._publishes.rate, wait)
        with self._reserving() as reserved:
            answers = await asyncio.gather(*await self._in_turn(messages, reserved))
        outcomes = [self._published_as(index, messages[index], answer) for index, answer in enumerate(answers)]
        now = self._process.now()
        for message, outcome in zip(messages, outcomes, strict=True):
            if outcome.duplicate:
                self._process.counters.duplicates += 1
            else:
                self._process.counters.published += 1
                self._tell_published(message, now, message.publisher, outcome.matched)
        await self._shrink()
        return outcomes

    @contextmanager
    def _reserving(self) -> Iterator[list[_Reserved]]:
        """Keys that are reserved meanwhile are free again if it comes to nothing. Nobody waits for that."""
        reserved: list[_Reserved] = []
        try:
            yield reserved
        except BaseException:
            for one in reserved:
                self._process.spawn(_free(*one))
            raise

    async def _in_turn(self, messages: Sequence[Message], reserved: list[_Reserved]) -> list[Awaitable[list[Any]]]:
        """Publish as soon as the keys are seen to and those who came before have published.

        So what a caller sends stays in order, and the keys of all who come at once are seen to at once: one after the
        other each would wait for an answer of the store.
        """
        preparing = self._prepare("", messages, reserved)
        if not preparing and not self._line:
            return self._published(messages)
        return await self._line.take(lambda: self._published(messages), preparing)

    def _prepare(
        self, client_id: str, messages: Sequence[Message], reserved: list[_Reserved]
    ) -> Awaitable[None] | None:
        """What has to be done about keys before messages are published or queued.

        The script that publishes a message checks its key. Of several messages each could be refused for its own after
        others were published, so their keys are reserved first.
        """
        if not any(message.key for message in messages):
            return None
        if len(messages) > 1:
            return self._reserve(client_id, messages, reserved)
        return self._process.refresh() if self._keys_are_full() else None

    def _keys_are_full(self) -> bool:
        return self._process.seems_at_limit(lambda holds: holds.keys, self._process.limits.idempotency_keys)

    def _published_as(self, index: int, message: Message, answer: Sequence[Any]) -> PublishOutcome:
        done, *rest = answer
        if not done:
            raise self._no_key(index, rest)
        matched, duplicate, place, *logs = rest
        if logs:
            offsets = {log.decode(): int(offset) for log, offset in zip(logs[::2], logs[1::2], strict=True)}
            self._following.appended(self._process.layout.of(message.channel), int(place), offsets)
        return PublishOutcome(int(matched), bool(duplicate))

    def _published(self, messages: Sequence[Message]) -> list[Awaitable[list[Any]]]:
        return [self._publish(message) for message in messages]

    def _publish(self, message: Message) -> Awaitable[list[Any]]:
        patterns = logs_of(message.channel)
        return self._process.partitions[self._process.layout.of(message.channel)].do(
            "publish", *self._words("", message), len(patterns), *patterns
        )

    def _words(self, client_id: str, message: Message) -> list[str | int | bytes]:
        """A message as `partition.lua` takes it to publish or queue it."""
        bounds = self._process.limits.log
        return [
            scoped(message, client_id),
            *((_fingerprint(message), int(not self._keys_are_full())) if message.key else ("", "")),
            bounds.messages,
            bounds.bytes,
            message.size,
            encoded(message),
        ]

    async def queue_for(self, client_id: str, messages: Sequence[Message]) -> QueueOutcome:
        """See `engine.abc.Engine`."""
        self._check_room(messages)
        home = self._process.home(client_id)
        with self._reserving() as reserved:
            if preparing := self._prepare(client_id, messages, reserved):
                await preparing
            answers = await asyncio.gather(
                *[home.do("queue", client_id, *self._words(client_id, message)) for message in messages]
            )
        for index, (done, *rest) in enumerate(answers):
            if not done:
                raise ClientUnknown(client_id) if rest == [b"UNKNOWN"] else self._no_key(index, rest)
        now = self._process.now()
        duplicates = 0
        for message, (_, duplicate, place, offset) in zip(messages, answers, strict=True):
            duplicates += bool(duplicate)
            if not duplicate:
                self._following.appended(home.number, int(place), {client_id: int(offset)})
                self._process.counters.queued += 1
                self._tell_published(message, now, client_id, 1)
        self._process.counters.duplicates += duplicates
        await self._shrink()
        _, cursors = await look(self._process, client_id)
        return QueueOutcome(await self._clients.pending(client_id, cursors), duplicates)

    def _check_room(self, messages: Sequence[Message]) -> None:
        size = sum(message.size for message in messages)
        if size > self._process.limits.total_bytes:
            raise LimitMemory(
                f"these messages take {size:,} bytes; max_total_bytes is {self._process.limits.total_bytes:,}: "
                "send smaller batches",
                field="messages",
            )

    async def _reserve(self, client_id: str, messages: Sequence[Message], reserved: list[_Reserved]) -> None:
        """Have each key stand for its message, or, if one of them stands for another, none."""
        if client_id:
            await look(self._process, client_id)
        for index, message in enumerate(messages):
            if not message.key:
                continue
            if self._keys_are_full():
                await self._process.refresh()
            key = scoped(message, client_id)
            partition = self._process.partitions[self._process.layout.of(client_id or message.channel)]
            asked = partition.do("reserve_key", key, _fingerprint(message), int(not self._keys_are_full()))
            reserved.append((partition, key, asked))
            done, *answer = await asyncio.shield(asked)
            if not done:
                raise self._no_key(index, answer)

    def _no_key(self, index: int, answer: Sequence[bytes]) -> PixiedError:
        if answer[0] == b"REUSED":
            return IdempotencyKeyReused(f"messages[{index}].idempotency_key")
        return LimitMemory(
            f"max_idempotency_keys ({self._process.limits.idempotency_keys:,}) are in use; "
            "try again when the oldest is 5 minutes old",
            retry_after=float(answer[1]) + idempotency.SECONDS - self._process.now() if answer[1] else None,
        )

    async def _shrink(self) -> None:
        """Take the oldest mail away while there is too much."""
        while (
            excess := sum(partition.holds.bytes for partition in self._process.partitions)
            - self._process.limits.total_bytes
        ) > 0:
            await self._process.refresh()
            excess = (
                sum(partition.holds.bytes for partition in self._process.partitions) - self._process.limits.total_bytes
            )
            if excess <= 0:
                return
            oldest = await asyncio.gather(*[partition.do("shrink", 0, 0) for partition in self._process.partitions])
            ages = sorted((int(place), number) for number, (_, _, place) in enumerate(oldest) if place)
            if not ages:
                return
            upto = ages[1][0] if len(ages) > 1 else 1 << 53
            await self._process.partitions[ages[0][1]].do("shrink", excess, upto)

    def _tell_published(self, message: Message, at: float, client_id: str, recipients: int) -> None:
        if self._events.watched(EventKind.PUBLISHED):
            self._events.show(Event.published(message, at, client_id, recipients))


async def _free(partition: Partition, key: str, asked: Awaitable[list[Any]]) -> None:
    """A key that was reserved in vain stands for nothing, unless it did before."""
    done, *known = await asked
    if done and not known[0]:
        await partition.do("free_key", key)


def _fingerprint(message: Message) -> str:
    mark = blake2b(digest_size=12)
    for part in (message.channel.encode(), message.publisher.encode(), message.body):
        mark.update(len(part).to_bytes(4, "big") + part)
    mark.update(bytes([message.exclude_publisher]))
    return mark.hexdigest()
