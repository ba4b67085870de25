"""Clients and namespaces: what is in one partition each."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress

from pixied_server.core import identifiers
from pixied_server.core.rate import TokenBucket
from pixied_server.engine.abc import Client, EventKind, Parting
from pixied_server.engine.redis.claim import Cursors
from pixied_server.engine.redis.claims import Claims
from pixied_server.engine.redis.events import Events
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.records import look
from pixied_server.engine.redis.subscriptions import Subscriptions
from pixied_server.errors import (
    ClientUnknown,
    LimitClients,
    LimitNamespaces,
    NamespaceInUse,
    NamespaceUnknown,
    RateLimited,
)

__all__ = ["Clients"]

# How often a draw may hit a taken namespace before its length counts as used up.
_DRAWS = 100
# So many messages are looked at to count those only once that came through several subscriptions.
_EXACT = 1_000
# A change that no one can know of without looking.
_ENDED = 1 << 52


class Clients:
    """See the module.

    Args:
        process: this process.
        claims: the clients that it holds.
        subscriptions: know who subscribes.
        events: shows what happens.
    """

    def __init__(self, process: Process, claims: Claims, subscriptions: Subscriptions, events: Events) -> None:
        self._process = process
        self._claims = claims
        self._subscriptions = subscriptions
        self._events = events
        self._letters = identifiers.Letters()
        self._creates = TokenBucket(process.limits.creates_per_second)

    async def create(self, session_timeout: float, attributes: Mapping[str, str]) -> Client:
        """See `engine.abc.Engine`."""
        if await self._process.at_limit(lambda holds: holds.clients, self._process.limits.clients):
            raise LimitClients("alive", self._process.limits.clients, retry_after=1.0)
        if wait := self._creates.take(1, self._process.now()):
            raise RateLimited("new clients", self._creates.rate, wait)
        for _ in range(_DRAWS):
            client_id = self._letters.draw()
            answer = await self._process.home(client_id).do(
                "create", client_id, repr(session_timeout), json.dumps(dict(attributes), ensure_ascii=False)
            )
            if answer[0]:
                break
        created_at, deadline = map(float, answer[1:])
        self._process.counters.clients_created += 1
        self._events.tell(EventKind.CLIENT_CREATED, created_at, client_id=client_id)
        return Client(client_id, created_at, deadline, session_timeout, 0, 0, "", dict(attributes))

    async def get(self, client_id: str) -> Client:
        """See `engine.abc.Engine`."""
        return await self._described(client_id, *await look(self._process, client_id))

    async def _described(self, client_id: str, record: Mapping[str, str], cursors: Cursors) -> Client:
        kept = record["claim"] != "0" and record["expires"] == "0"
        return Client(
            client_id=client_id,
            created_at=float(record["created"]),
            expires_at=None if kept else float(record["deadline"]),
            session_timeout=float(record["timeout"]),
            subscriptions=int(record["subscriptions"]),
            pending=await self.pending(client_id, cursors),
            front_end=record["front_end"],
            attributes=json.loads(record["attributes"]),
        )

    async def pending(self, client_id: str, cursors: Cursors) -> int:
        """How many messages the client has not confirmed, here or in the store."""
        confirmed: Cursors = {}
        claim = self._claims.held.get(client_id)
        progress = self._process.listener.progress(client_id)
        if claim is not None and progress is not None:
            confirmed = claim.cursors_at(progress[0])
        by_partition: dict[int, list[str | int]] = {}
        for log, place in cursors.items():
            further = confirmed.get(log, place)
            best = further if further.place > place.place else place
            by_partition.setdefault(log[0], []).extend((log[1] or client_id, best.place, best.offset))
        counts = await asyncio.gather(
            *[
                self._process.partitions[number].do("pending", _EXACT, len(words) // 3, *words)
                for number, words in by_partition.items()
            ]
        )
        return sum(int(found) for _, found in counts)

    async def ping(self, client_id: str) -> float | None:
        """See `engine.abc.Engine`."""
        done, *answer = await self._process.home(client_id).do("ping", client_id)
        if not done:
            raise ClientUnknown(client_id)
        return float(answer[0]) if answer[0] else None

    async def destroy(self, client_id: str, reason: str) -> None:
        """See `engine.abc.Engine`."""
        done, *answer = await self._process.home(client_id).do("destroy", client_id, reason)
        if not done:
            raise ClientUnknown(client_id)
        self._process.counters.clients_destroyed += 1
        self._claims.gone(client_id, Parting.DESTROYED, reason)
        await self._subscriptions.bury(client_id, answer[0], reason)
        with suppress(ClientUnknown):
            await self._claims.make_known(answer[1].decode(), client_id, _ENDED)

    async def generate_namespace(self, length: int) -> str:
        """See `engine.abc.Engine`."""
        if await self._process.at_limit(lambda holds: holds.namespaces, self._process.limits.namespaces):
            raise LimitNamespaces(f"max_namespaces ({self._process.limits.namespaces:,}) are reserved; release some")
        for _ in range(_DRAWS):
            namespace = self._letters.draw(length)
            if (await self._process.home(namespace).do("reserve", namespace))[0]:
                return namespace
        raise LimitNamespaces(
            f"nearly all {identifiers.possible(length):,} namespaces of length {length} are taken; ask for longer ones",
            field="length",
        )

    async def release_namespace(self, namespace: str) -> None:
        """See `engine.abc.Engine`."""
        done, *why = await self._process.home(namespace).do("free", namespace)
        if not done:
            raise NamespaceInUse(namespace) if why == [b"IN_USE"] else NamespaceUnknown(namespace)
