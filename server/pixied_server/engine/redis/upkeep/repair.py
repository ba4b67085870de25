"""Repairs: subscriptions that a failover of Redis took away from one partition and not from another.

A subscription is in two partitions: the client's record says what it reads, and the pattern's members say which logs to
keep. The client's record is the truth. The process that has the lease walks over all records and members in small
steps, and corrects the members. A wildcard also has a log in each partition, and these have to know the same of it.

A client's record also names its owner. One that is in no list of processes would never be given up.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import structlog

from pixied_server.engine.redis.operations.subscriptions import Subscriptions
from pixied_server.engine.redis.partition.protocol import Partition
from pixied_server.engine.redis.process import Process
from pixied_server.errors import ClientUnknown, EngineUnavailable

__all__ = ["Repair"]

_log = structlog.get_logger(__name__)

# How many clients, and how many members of patterns, one step checks.
_PAGE = 200
# For so many seconds a member that does not subscribe may belong to a Subscribe that is under way.
_UNDER_WAY = 10.0
_MOST_SUSPECTS = 100_000

Member: TypeAlias = tuple[str, str]
"""A pattern and a client."""


class Repair:
    """See the module.

    Args:
        process: this process.
        subscriptions: makes and ends memberships.
    """

    def __init__(self, process: Process, subscriptions: Subscriptions) -> None:
        self._process = process
        self._subscriptions = subscriptions
        # How far the walks are: over clients, over patterns, over the members of one pattern.
        self._clients = (0, "")
        self._patterns = (0, "")
        self._members = ("", "")
        # And over the wildcards that partitions know.
        self._wildcards = (0, "0")
        # Owners that were not among the processes: since when.
        self._strays: dict[str, float] = {}
        # Members that did not subscribe when the last walk came by, and this one: since when.
        self._suspects: dict[Member, float] = {}
        self._seen: dict[Member, float] = {}

    async def step(self) -> None:
        """Check some more clients, some more wildcards, and some more members.

        What a partition keeps it from by not answering comes with the next walk.
        """
        for check in (self._check_clients, self._check_wildcards, self._check_some_members):
            try:
                await check()
            except EngineUnavailable as error:
                _log.debug("store does not answer", why=str(error))

    async def _check_some_members(self) -> None:
        looked_at = 0
        while looked_at < _PAGE:
            members = await self._next_members()
            looked_at += max(1, len(members))
            await self._check_members(members)
            if self._patterns[1] == "" and not self._members[0]:
                return

    # Clients that are not members of their patterns

    async def _check_clients(self) -> None:
        number, after = self._clients
        self._clients = (self._following(number), "")
        names = await self._process.partitions[number].clients(after, _PAGE)
        if len(names) == _PAGE:
            self._clients = (number, names[-1])
        owners = {await self._check_client(name) for name in names} - {""}
        # Asked for after the records were read: who has just begun to own a client is listed before.
        for owner in owners.difference(await self._process.partitions[0].processes()) if owners else ():
            self._strays.setdefault(owner, self._process.now())

    async def strays(self) -> list[str]:
        """Return owners that have been no processes for some seconds: they were given up once, and claimed again."""
        now = self._process.now()
        due = [owner for owner, since in self._strays.items() if now - since >= _UNDER_WAY]
        if not due:
            return []
        listed = set(await self._process.partitions[0].processes())
        for owner in due:
            del self._strays[owner]
        return [owner for owner in due if owner not in listed]

    async def _check_client(self, client_id: str) -> str:
        """Check a client's memberships. Return its owner; "" for none."""
        try:
            record = await self._process.home(client_id).look(client_id)
        except ClientUnknown:
            return ""
        members = [(pattern, client_id) for pattern in record.starts]
        known = await self._by_pattern(members, lambda partition, some: partition.are_members(some))
        for member, is_member in zip(members, known, strict=True):
            if not is_member:
                await self._rejoin(*member)
        return record.fields["process"] if record.fields["claim"] != "0" else ""

    async def _by_pattern(
        self, members: Sequence[Member], ask: Callable[[Partition, Sequence[Member]], Awaitable[list[bool]]]
    ) -> list[bool]:
        by_partition: dict[int, list[Member]] = {}
        for member in members:
            by_partition.setdefault(self._process.layout.of(member[0]), []).append(member)
        found: dict[Member, bool] = {}
        for number, some in by_partition.items():
            found.update(zip(some, await ask(self._process.partitions[number], some), strict=True))
        return [found[member] for member in members]

    async def _rejoin(self, pattern: str, client_id: str) -> None:
        async with self._subscriptions.locks.of(client_id):
            if not await self._subscriptions.client_subscribed(client_id, pattern):
                return
            _log.error("a subscription was lost by the store and is made again")
            await self._subscriptions.rejoin(client_id, pattern)

    # Wildcards whose partitions do not know the same of them

    async def _check_wildcards(self) -> None:
        number, cursor = self._wildcards
        self._wildcards = (self._following(number), "0")
        cursor, found = await self._process.partitions[number].wildcards(cursor)
        if cursor != "0":
            self._wildcards = (number, cursor)
        for pattern in found:
            if not await self._is_known_alike(pattern, number):
                _log.warning("a pattern is declared to all partitions again")
                await self._subscriptions.declare_again(pattern)

    async def _is_known_alike(self, pattern: str, number: int) -> bool:
        """Return whether a partition knows the same of a wildcard as its home does; its home, as all others do."""
        home = self._process.layout.of(pattern)
        others = range(len(self._process.partitions)) if number == home else (home,)
        answers = [self._process.partitions[one].declared(pattern) for one in {number, *others}]
        return len({await answer for answer in answers}) == 1

    # Members that do not subscribe

    async def _next_members(self) -> list[Member]:
        pattern, after = self._members
        if not pattern:
            pattern = await self._next_pattern()
            if not pattern:
                return []
        self._members = ("", "")
        names = await self._process.home(pattern).members(pattern, after, _PAGE)
        if len(names) == _PAGE:
            self._members = (pattern, names[-1])
        return [(pattern, name) for name in names]

    async def _next_pattern(self) -> str:
        number, after = self._patterns
        self._patterns = (self._following(number), "")
        found = await self._process.partitions[number].patterns(after, 1)
        if found:
            self._patterns = (number, found[0])
            return found[0]
        if not self._patterns[0]:
            # What this walk has not seen again was under way.
            self._suspects, self._seen = self._seen, {}
        return ""

    async def _check_members(self, members: Sequence[Member]) -> None:
        asked = [self._process.home(client_id).subscribes(client_id, [pattern]) for pattern, client_id in members]
        for (pattern, client_id), answer in zip(members, asked, strict=True):
            try:
                (subscribes,) = await answer
            except ClientUnknown:
                subscribes = False
            if not subscribes:
                await self._judge((pattern, client_id))

    async def _judge(self, member: Member) -> None:
        now = self._process.now()
        since = self._suspects.get(member, now)
        if now - since < _UNDER_WAY:
            if len(self._seen) < _MOST_SUSPECTS:
                self._seen[member] = since
            return
        pattern, client_id = member
        _log.warning("a member of a pattern that does not subscribe is removed")
        await self._subscriptions.finish_joining(client_id, [pattern])

    def _following(self, number: int) -> int:
        return (number + 1) % len(self._process.partitions)
