"""Who subscribes to what: a client's cursors in its own partition, a pattern's members in the pattern's.

The client's own keys are the truth. A pattern's logs keep mail for it from before they say so until after.
"""

import asyncio
from collections.abc import Iterable, Sequence

from pixied_server.core.channels import is_pattern
from pixied_server.engine.abc import EventKind
from pixied_server.engine.redis.claim import Cursors, Place
from pixied_server.engine.redis.claims import Claims
from pixied_server.engine.redis.ear import Log
from pixied_server.engine.redis.events import Events
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.records import field_of, log_of, look
from pixied_server.engine.redis.turns import Turns
from pixied_server.errors import ClientUnknown, LimitSubscriptions

__all__ = ["Subscriptions"]


class Subscriptions:
    """See the module.

    Args:
        process: this process.
        claims: the clients that it holds.
        events: shows what happens.

    Attributes:
        turns: changes of one client's subscriptions are made one after the other.
    """

    def __init__(self, process: Process, claims: Claims, events: Events) -> None:
        self._process = process
        self._claims = claims
        self._events = events
        self.turns = Turns()

    async def subscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        async with self.turns.of(client_id):
            return await self._subscribe(client_id, list(dict.fromkeys(patterns)))

    async def _subscribe(self, client_id: str, wanted: Sequence[str]) -> list[str]:
        joining = [self._join(client_id, pattern) for pattern in wanted]
        # Most subscribe to one: that needs no task of its own.
        joined = [await joining[0]] if len(joining) == 1 else await asyncio.gather(*joining)
        words: list[str | int] = []
        for pattern, _, _, cursors in joined:
            words += (pattern, len(cursors))
            for (partition, _), place in cursors.items():
                words += (partition, place.place, place.offset)
        most = self._process.limits.subscriptions_per_client
        done, *answer = await self._process.home(client_id).do("subscribe", client_id, most, len(wanted), *words)
        if not done:
            await self._undo(client_id, [pattern for pattern, _, added, _ in joined if added])
            raise ClientUnknown(client_id) if answer[0] == b"UNKNOWN" else LimitSubscriptions(most)
        new = [one for one, is_new in zip(joined, answer[0], strict=True) if is_new]
        self._tell_joined(client_id, new)
        if new:
            cursors = {log: place for _, _, _, some in new for log, place in some.items()}
            self._claims.subscribed(client_id, answer[1], cursors)
        return [pattern for pattern, _, _, _ in new]

    async def _join(self, client_id: str, pattern: str) -> tuple[str, bool, bool, dict[Log, Place]]:
        """Have a pattern's logs keep mail for a client.

        Returns:
            The pattern, whether it is the first of its subscribers, whether it was none before, and from where on.
        """
        home = self._process.layout.of(pattern)
        wild = is_pattern(pattern)
        _, created, version, subscribers, place, offset, added = await self._process.partitions[home].do(
            "join", pattern, client_id, int(wild)
        )
        cursors = {(home, pattern): Place(int(place), int(offset))}
        if wild:
            cursors |= await self._declare(pattern, home, version, subscribers)
        return pattern, bool(created), bool(added), cursors

    async def _declare(self, pattern: str, home: int, version: int, subscribers: int) -> dict[Log, Place]:
        others = [partition for partition in self._process.partitions if partition.number != home]
        answers = await asyncio.gather(*[one.do("declare", pattern, version, subscribers) for one in others])
        return {
            (partition.number, pattern): Place(int(place), int(offset))
            for partition, (_, place, offset) in zip(others, answers, strict=True)
        }

    async def part(self, client_id: str, pattern: str) -> tuple[str, bool]:
        """A client is no longer a subscriber. Returns the pattern, and whether it was the last one."""
        home = self._process.layout.of(pattern)
        wild = is_pattern(pattern)
        _, vacated, version, subscribers, was_member = await self._process.partitions[home].do(
            "part", pattern, client_id, int(wild)
        )
        if wild and was_member:
            await self._declare(pattern, home, version, subscribers)
        return pattern, bool(vacated)

    async def _undo(self, client_id: str, patterns: Iterable[str]) -> None:
        await asyncio.gather(*[self.part(client_id, pattern) for pattern in patterns])

    async def rejoin(self, client_id: str, pattern: str, cursors: Cursors) -> None:
        """A pattern's logs keep mail again for a client whose subscription they did not know any more.

        If it was their last subscriber, what was published meanwhile is missing, and nobody knows how much: it is told
        as a gap of one.
        """
        _, created, _, _ = await self._join(client_id, pattern)
        if not created:
            return
        await asyncio.gather(
            *[self._process.partitions[log[0]].do("go_on", pattern) for log in cursors if log[1] == pattern]
        )

    async def unsubscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        async with self.turns.of(client_id):
            return await self._unsubscribe(client_id, list(dict.fromkeys(patterns)))

    async def _unsubscribe(self, client_id: str, wanted: Sequence[str]) -> list[str]:
        words: list[str | int] = []
        for pattern in wanted:
            partitions = self._process.layout.of_log(pattern)
            words += (pattern, len(partitions), *partitions)
        done, *answer = await self._process.home(client_id).do("unsubscribe", client_id, len(wanted), *words)
        if not done:
            raise ClientUnknown(client_id)
        removed = [pattern for pattern, had in zip(wanted, answer[0], strict=True) if had]
        self._claims.unsubscribed(client_id, answer[1], wanted, known=not removed)
        now = self._process.now()
        for pattern, vacated in await asyncio.gather(*[self.part(client_id, pattern) for pattern in removed]):
            self._tell_left(client_id, pattern, now, vacated=vacated)
        await self._claims.make_known(answer[2].decode(), client_id, answer[1])
        return removed

    async def bury(self, client_id: str, fields: Iterable[bytes], reason: str) -> None:
        """A session has ended: no log has it as a subscriber any more."""
        now = self._process.now()
        patterns = list(dict.fromkeys(pattern for _, pattern in map(log_of, fields) if pattern))
        for pattern, vacated in await asyncio.gather(*[self.part(client_id, pattern) for pattern in patterns]):
            self._tell_left(client_id, pattern, now, vacated=vacated)
        await self._process.home(client_id).do("buried", client_id)
        self._events.tell(EventKind.CLIENT_DESTROYED, now, client_id=client_id, reason=reason)

    async def subscribed_to(self, client_id: str) -> list[str]:
        """See `engine.abc.Engine`."""
        _, cursors = await look(self._process, client_id)
        return sorted({pattern for _, pattern in cursors if pattern})

    async def client_subscribed(self, client_id: str, pattern: str) -> bool:
        """See `engine.abc.Engine`."""
        (log, *_) = self._process.layout.of_log(pattern)
        done, *answer = await self._process.home(client_id).do("subscribes", client_id, field_of((log, pattern)))
        if not done:
            raise ClientUnknown(client_id)
        return bool(answer[0])

    def _tell_joined(self, client_id: str, joined: Iterable[tuple[str, bool, bool, Cursors]]) -> None:
        now = self._process.now()
        for pattern, created, _, _ in joined:
            if created:
                self._events.tell(EventKind.CHANNEL_CREATED, now, channel=pattern)
            self._events.tell(EventKind.SUBSCRIBED, now, client_id=client_id, channel=pattern)

    def _tell_left(self, client_id: str, pattern: str, now: float, *, vacated: bool) -> None:
        self._events.tell(EventKind.UNSUBSCRIBED, now, client_id=client_id, channel=pattern)
        if vacated:
            self._events.tell(EventKind.CHANNEL_DESTROYED, now, channel=pattern)
