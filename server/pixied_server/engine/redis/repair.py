"""Repairs: what a process left half done when it died over it, or a failover of Redis took away.

A subscription is in two partitions: the client's own keys say what it reads, and the pattern's members say that its
logs are to be kept. The client's keys are the truth. The process that holds the lease walks over all of them, little by
little, and puts the others right.
"""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from pixied_server.engine.redis.claim import Place
from pixied_server.engine.redis.ear import Log
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.records import field_of, look
from pixied_server.engine.redis.subscriptions import Subscriptions
from pixied_server.errors import ClientUnknown

__all__ = ["Repair"]

_log = structlog.get_logger(__name__)

# So many clients, and so many members of patterns, are looked at in one step.
_PAGE = 200
# A member that is no subscriber may become one: a Subscribe is under way. After so many seconds it is not.
_PATIENCE = 60.0
_MOST_SUSPECTS = 100_000

Member = tuple[str, str]


class Repair:
    """See the module.

    Args:
        process: this process.
        subscriptions: put members right.
    """

    def __init__(self, process: Process, subscriptions: Subscriptions) -> None:
        self._process = process
        self._subscriptions = subscriptions
        # Where the walks are: over clients, over patterns, over the members of one of them.
        self._clients = (0, "")
        self._patterns = (0, "")
        self._members = ("", "")
        self._suspects: dict[Member, float] = {}

    async def step(self) -> None:
        """Look at some more clients, and at some more members."""
        await self._check_clients()
        await self._check_members()

    # Clients whose patterns do not know them

    async def _check_clients(self) -> None:
        number, after = self._clients
        _, found = await self._process.partitions[number].do("clients", after, _PAGE)
        names = [name.decode() for name in found]
        self._clients = (number, names[-1]) if len(names) == _PAGE else (self._following(number), "")
        await asyncio.gather(*[self._check_client(name) for name in names])

    async def _check_client(self, client_id: str) -> None:
        try:
            _, cursors = await look(self._process, client_id)
        except ClientUnknown:
            return
        patterns = list(dict.fromkeys(pattern for _, pattern in cursors if pattern))
        known = await asyncio.gather(*[self._is_member(pattern, client_id) for pattern in patterns])
        for pattern, is_member in zip(patterns, known, strict=True):
            if not is_member:
                await self._rejoin(client_id, pattern, cursors)

    async def _is_member(self, pattern: str, client_id: str) -> bool:
        _, is_member = await self._process.partitions[self._process.layout.of(pattern)].do(
            "is_member", pattern, client_id
        )
        return bool(is_member)

    async def _rejoin(self, client_id: str, pattern: str, cursors: Mapping[Log, Place]) -> None:
        async with self._subscriptions.turns.of(client_id):
            if not await self._subscriptions.client_subscribed(client_id, pattern):
                return
            _log.error("a subscription was lost by the store and is made again")
            await self._subscriptions.rejoin(client_id, pattern, cursors)

    # Members that do not subscribe

    async def _check_members(self) -> None:
        pattern, after = self._members
        if not pattern:
            pattern = await self._next_pattern()
            if not pattern:
                return
        home = self._process.partitions[self._process.layout.of(pattern)]
        _, found = await home.do("members", pattern, after, _PAGE)
        names = [name.decode() for name in found]
        self._members = (pattern, names[-1]) if len(names) == _PAGE else ("", "")
        subscribes = await asyncio.gather(*[self._subscribes(name, pattern) for name in names])
        await self._judge(pattern, [name for name, does in zip(names, subscribes, strict=True) if not does])

    async def _next_pattern(self) -> str:
        number, after = self._patterns
        _, found = await self._process.partitions[number].do("patterns", after, 1)
        if not found:
            self._patterns = (self._following(number), "")
            return ""
        pattern: str = found[0].decode()
        self._patterns = (number, pattern)
        return pattern

    async def _subscribes(self, client_id: str, pattern: str) -> bool:
        log = (self._process.layout.of_log(pattern)[0], pattern)
        done, *answer = await self._process.home(client_id).do("subscribes", client_id, field_of(log))
        return bool(done and answer[0])

    async def _judge(self, pattern: str, names: Sequence[str]) -> None:
        now = self._process.now()
        for name in names:
            seen = self._suspects.get((name, pattern))
            if seen is None:
                if len(self._suspects) < _MOST_SUSPECTS:
                    self._suspects[name, pattern] = now
            elif now - seen >= _PATIENCE:
                del self._suspects[name, pattern]
                await self._remove(name, pattern)

    async def _remove(self, client_id: str, pattern: str) -> None:
        async with self._subscriptions.turns.of(client_id):
            if await self._subscribes(client_id, pattern):
                return
            _log.warning("a member of a pattern that does not subscribe is removed")
            await self._subscriptions.part(client_id, pattern)

    def _following(self, number: int) -> int:
        return (number + 1) % len(self._process.partitions)
