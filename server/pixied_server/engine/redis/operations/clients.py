"""Clients and namespaces: each is in one partition."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress

from pixied_server.core import identifiers
from pixied_server.core.completion import completed
from pixied_server.core.progress import Progress
from pixied_server.core.rate import TokenBucket
from pixied_server.engine.abc import Client, EndReason, EventKind
from pixied_server.engine.redis.operations.events import Events
from pixied_server.engine.redis.operations.subscriptions import Subscriptions
from pixied_server.engine.redis.ownership.ownership import Ownership
from pixied_server.engine.redis.partition.codec import progress_in
from pixied_server.engine.redis.partition.protocol import Record
from pixied_server.engine.redis.process import Process
from pixied_server.errors import ClientUnknown, EngineUnavailable, LimitClients, LimitNamespaces, RateLimited

__all__ = ["Clients"]

# How often a draw may hit a taken namespace before its length counts as used up.
_DRAWS = 100
# Up to this many messages are read to count one that came through several subscriptions only once.
_EXACT = 500


class Clients:
    """See the module.

    Args:
        process: this process.
        ownership: the clients that it owns.
        subscriptions: the members of patterns.
        events: shows what happens.
    """

    def __init__(self, process: Process, ownership: Ownership, subscriptions: Subscriptions, events: Events) -> None:
        self._process = process
        self._ownership = ownership
        self._subscriptions = subscriptions
        self._events = events
        self._letters = identifiers.Letters()
        self._creates = TokenBucket(process.limits.creates_per_second)

    async def create(self, session_timeout: float, attributes: Mapping[str, str]) -> Client:
        """See `engine.abc.Engine`."""
        if await self._process.at_limit(lambda totals: totals.clients, self._process.limits.clients):
            raise LimitClients("alive", self._process.limits.clients, retry_after=1.0)
        if wait := self._creates.take(1, self._process.now()):
            raise RateLimited("new clients", self._creates.rate, wait)
        return await completed(self._create(session_timeout, attributes))

    async def _create(self, session_timeout: float, attributes: Mapping[str, str]) -> Client:
        written = json.dumps(dict(attributes), ensure_ascii=False)
        begun = None
        while begun is None:
            client_id = self._letters.draw()
            begun = await self._process.home(client_id).create(client_id, session_timeout, written)
        created_at, deadline = begun
        self._process.counters.clients_created += 1
        self._events.show_if_watched(EventKind.CLIENT_CREATED, created_at, client_id=client_id)
        return Client(client_id, created_at, deadline, session_timeout, 0, 0, "", dict(attributes))

    async def get(self, client_id: str) -> Client:
        """See `engine.abc.Engine`."""
        record = await self._process.home(client_id).look(client_id)
        fields = record.fields
        kept = fields["claim"] != "0" and fields["expires"] == "0"
        return Client(
            client_id=client_id,
            created_at=float(fields["created"]),
            expires_at=None if kept else float(fields["deadline"]),
            session_timeout=float(fields["timeout"]),
            subscriptions=int(fields["subscriptions"]),
            pending=await self.pending(client_id, record),
            front_end=fields["front_end"],
            attributes=json.loads(fields["attributes"]),
        )

    async def pending(self, client_id: str, record: Record) -> int:
        """Return how many messages the client has not confirmed, to its owner here or in the store."""
        progress = self._confirmed(client_id, record)
        home = self._process.layout.of(client_id)
        by_partition: dict[int, list[tuple[str, int]]] = {home: [(client_id, progress[home])]}
        for pattern, starts in record.starts.items():
            for partition, start in starts.items():
                log = (pattern, max(progress[partition], start.sequence))
                by_partition.setdefault(partition, []).append(log)
        counts = [self._process.partitions[number].pending(_EXACT, logs) for number, logs in by_partition.items()]
        return sum([await count for count in counts])

    def _confirmed(self, client_id: str, record: Record) -> Progress:
        stored = progress_in(record.fields.get("progress", ""), len(self._process.partitions))
        claim = self._ownership.owned.get(client_id)
        delivered = self._process.listener.delivered(client_id)
        if claim is None or delivered is None or not delivered.confirmed:
            return stored
        return tuple(map(max, stored, delivered.confirmed))

    async def ping(self, client_id: str) -> float | None:
        """See `engine.abc.Engine`."""
        return await self._process.home(client_id).ping(client_id)

    async def ping_all(self, client_ids: Sequence[str]) -> dict[str, float | None]:
        """See `engine.abc.Engine`."""
        answers = {client_id: self._process.home(client_id).ping(client_id) for client_id in client_ids}
        known: dict[str, float | None] = {}
        for client_id, answer in answers.items():
            with suppress(ClientUnknown):
                known[client_id] = await answer
        return known

    async def destroy(self, client_id: str, reason: str) -> None:
        """See `engine.abc.Engine`."""
        await completed(self._destroy(client_id, reason))

    async def _destroy(self, client_id: str, reason: str) -> None:
        try:
            patterns, owner = await self._process.home(client_id).destroy(client_id, reason)
        except EngineUnavailable as error:
            self._ownership.changes.failed(client_id, error)
            raise
        self._process.counters.clients_destroyed += 1
        self._ownership.gone(client_id, EndReason.DESTROYED, reason)
        await self._subscriptions.leave(client_id, patterns, reason)
        await self._ownership.changes.make_end_known(owner, client_id, reason)

    async def generate_namespace(self, length: int) -> str:
        """See `engine.abc.Engine`."""
        if await self._process.at_limit(lambda totals: totals.namespaces, self._process.limits.namespaces):
            raise LimitNamespaces(f"max_namespaces ({self._process.limits.namespaces:,}) are reserved; release some")
        for _ in range(_DRAWS):
            namespace = self._letters.draw(length)
            if await self._process.home(namespace).reserve(namespace):
                return namespace
        raise LimitNamespaces(
            f"nearly all {identifiers.possible(length):,} namespaces of length {length} are taken; ask for longer ones",
            field="length",
        )

    async def release_namespace(self, namespace: str) -> None:
        """See `engine.abc.Engine`."""
        await self._process.home(namespace).free(namespace)
