"""Who subscribes to what: a client's record in its own partition, a pattern's members in the pattern's partition.

The client's record is the truth. A client is a member of a pattern from before its record says so until after. `joins`
finds a Subscribe that was cut off between the two, `leaving` an Unsubscribe or the end of a session: a few seconds
later the process that has the lease undoes or completes it.
"""

import asyncio
from collections.abc import Mapping, Sequence

from pixied_server.core.channels import is_pattern
from pixied_server.core.completion import completed
from pixied_server.engine.abc import EventKind
from pixied_server.engine.redis.operations.events import Events
from pixied_server.engine.redis.operations.locks import KeyedLock
from pixied_server.engine.redis.ownership.ownership import Ownership
from pixied_server.engine.redis.partition.clock import elapsed
from pixied_server.engine.redis.partition.codec import Start
from pixied_server.engine.redis.partition.protocol import Joined
from pixied_server.engine.redis.process import Process
from pixied_server.errors import ClientUnknown, EngineUnavailable, LimitSubscriptions

__all__ = ["Subscriptions"]

# A Subscribe that takes longer than so many seconds may be undone meanwhile: that begins after 3 s.
_SLOW = 1.0


class Subscriptions:
    """See the module.

    Args:
        process: this process.
        ownership: the clients that it owns.
        events: shows what happens.

    Attributes:
        locks: order the changes of one client's subscriptions.
    """

    def __init__(self, process: Process, ownership: Ownership, events: Events) -> None:
        self._process = process
        self._ownership = ownership
        self._events = events
        self.locks = KeyedLock()

    # Subscribing

    async def subscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        return await completed(self._subscribe(client_id, list(dict.fromkeys(patterns))))

    async def _subscribe(self, client_id: str, wanted: Sequence[str]) -> list[str]:
        async with self.locks.of(client_id):
            began = elapsed()
            joining = [self._join(client_id, pattern) for pattern in wanted]
            # Most calls name one pattern: that needs no task of its own.
            joined = [await joining[0]] if len(joining) == 1 else await asyncio.gather(*joining)
            starts = {pattern: begins for pattern, (_, begins) in zip(wanted, joined, strict=True)}
            added = [pattern for pattern, (one, _) in zip(wanted, joined, strict=True) if one.added]
            most = self._process.limits.subscriptions_per_client
            try:
                are_new, change = await self._process.home(client_id).subscribe(client_id, most, starts)
            except (ClientUnknown, LimitSubscriptions):
                await asyncio.gather(*[self.part(client_id, pattern) for pattern in added])
                raise
            except EngineUnavailable as error:
                self._ownership.changes.failed(client_id, error)
                raise
            self._join_is_done(client_id, added)
            new = [pattern for pattern, is_new in zip(wanted, are_new, strict=True) if is_new]
            # It was a member of what it did not subscribe to, or this took so long that it looked cut off: another
            # process may be about to end that, or has.
            late = elapsed() - began > _SLOW
            if doubtful := [pattern for pattern in new if late or pattern not in added]:
                await self._make_sure(client_id, doubtful)
            first = {pattern for pattern, (one, _) in zip(wanted, joined, strict=True) if one.first}
            self._show_joined(client_id, new, first)
            if new:
                logs = {(pattern, number): at for pattern in new for number, at in starts[pattern].items()}
                self._ownership.changes.subscribed(client_id, change, logs)
            return new

    async def _join(self, client_id: str, pattern: str) -> tuple[Joined, dict[int, Start]]:
        """Make a client a member of a pattern. Return also where its subscription begins in each partition."""
        home = self._process.home(pattern)
        wild = is_pattern(pattern)
        joined = await home.join(pattern, client_id, wild=wild)
        starts = {home.number: joined.start}
        if wild:
            declared = await self._declare(pattern, joined.version, joined.members)
            starts |= {number: start for number, (start, _) in declared.items()}
        return joined, starts

    async def _declare(
        self, pattern: str, version: int, members: int, *, begins: bool = True
    ) -> Mapping[int, tuple[Start, bool]]:
        home = self._process.layout.of(pattern)
        declared = {
            partition.number: partition.declare(pattern, version, members, begins=begins)
            for partition in self._process.partitions
            if partition.number != home
        }
        return {number: await answer for number, answer in declared.items()}

    def _join_is_done(self, client_id: str, patterns: Sequence[str]) -> None:
        by_partition: dict[int, list[tuple[str, str]]] = {}
        for pattern in patterns:
            by_partition.setdefault(self._process.layout.of(pattern), []).append((pattern, client_id))
        for number, members in by_partition.items():
            self._process.spawn(self._joined(number, members))

    async def _joined(self, number: int, members: Sequence[tuple[str, str]]) -> None:
        await self._process.partitions[number].joined(members)

    async def _make_sure(self, client_id: str, patterns: Sequence[str]) -> None:
        """Make a client a member again of those of these patterns that have it no longer."""
        for pattern in patterns:
            (is_member,) = await self._process.home(pattern).are_members([(pattern, client_id)])
            if not is_member:
                await self.rejoin(client_id, pattern)

    async def rejoin(self, client_id: str, pattern: str) -> None:
        """Make a client a member again of a pattern that has lost it.

        If it is the only member, an unknown number of messages is missing from the logs: that is a loss of one.
        """
        joined, starts = await self._join(client_id, pattern)
        await self._joined(self._process.layout.of(pattern), [(pattern, client_id)])
        if joined.first:
            await asyncio.gather(*[self._process.partitions[number].revived(pattern).result for number in starts])

    async def declare_again(self, pattern: str) -> None:
        """Tell all partitions how many members a wildcard has: one has lost that, or keeps a log for nobody.

        A log that begins anew has lost an unknown number of messages: that is a loss of one.
        """
        home = self._process.layout.of(pattern)
        parted = await self._process.partitions[home].part(pattern, "", wild=True)
        declared = await self._declare(pattern, parted.version, parted.members)
        anew = [self._process.partitions[number] for number, (_, began) in declared.items() if began]
        await asyncio.gather(*[partition.revived(pattern).result for partition in anew])
        await self._joined(home, [(pattern, "")])

    # Unsubscribing

    async def unsubscribe(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """See `engine.abc.Engine`."""
        return await completed(self._unsubscribe(client_id, list(dict.fromkeys(patterns))))

    async def _unsubscribe(self, client_id: str, wanted: Sequence[str]) -> list[str]:
        async with self.locks.of(client_id):
            try:
                had, change, owner = await self._process.home(client_id).unsubscribe(client_id, wanted)
            except EngineUnavailable as error:
                self._ownership.changes.failed(client_id, error)
                raise
            removed = [pattern for pattern, was in zip(wanted, had, strict=True) if was]
            self._ownership.changes.unsubscribed(client_id, change, wanted)
            if removed:
                await self._part_all(client_id, removed)
            await self._ownership.changes.make_known(owner, client_id, change.number)
            return removed

    async def part(self, client_id: str, pattern: str) -> bool:
        """End a client's membership. Return whether it was the pattern's last member."""
        wild = is_pattern(pattern)
        parted = await self._process.home(pattern).part(pattern, client_id, wild=wild)
        if wild:
            # Though it was a member no longer: whoever ended that may have died before other partitions knew.
            await self._declare(pattern, parted.version, parted.members, begins=False)
            await self._joined(self._process.layout.of(pattern), [(pattern, client_id)])
        return parted.last

    async def _part_all(self, client_id: str, patterns: Sequence[str]) -> None:
        now = self._process.now()
        last = await asyncio.gather(*[self.part(client_id, pattern) for pattern in patterns])
        for pattern, was_last in zip(patterns, last, strict=True):
            self._events.show_if_watched(EventKind.UNSUBSCRIBED, now, client_id=client_id, channel=pattern)
            if was_last:
                self._events.show_if_watched(EventKind.CHANNEL_DESTROYED, now, channel=pattern)
        again = await self._process.home(client_id).left(client_id, patterns)
        for pattern, subscribes in zip(patterns, again, strict=True):
            if subscribes:
                # Another process has subscribed the client, and found that it was a member still.
                await self.rejoin(client_id, pattern)

    async def leave(self, client_id: str, patterns: Sequence[str], reason: str) -> None:
        """End all memberships of a client whose session has ended."""
        await self._part_all(client_id, patterns)
        now = self._process.now()
        self._events.show_if_watched(EventKind.CLIENT_DESTROYED, now, client_id=client_id, reason=reason)

    # What was cut off

    async def finish_leaving(self, client_id: str, patterns: Sequence[str]) -> None:
        """Complete an Unsubscribe, or the end of a session, whose process has died."""
        async with self.locks.of(client_id):
            await self._part_all(client_id, await self._not_subscribed(client_id, patterns))

    async def finish_joining(self, client_id: str, patterns: Sequence[str]) -> None:
        """Complete or undo a Subscribe that was cut off after the client became a member of these patterns."""
        async with self.locks.of(client_id):
            undone = await self._not_subscribed(client_id, patterns)
            await asyncio.gather(*[self.part(client_id, pattern) for pattern in undone])
            undone = await self._not_subscribed(client_id, patterns)
            # The Subscribe was only slow, or what made the client a member again was cut off.
            await asyncio.gather(*[self.rejoin(client_id, pattern) for pattern in set(patterns).difference(undone)])

    async def _not_subscribed(self, client_id: str, patterns: Sequence[str]) -> list[str]:
        """Return the patterns to which a client does not subscribe; all of them if its session is over."""
        try:
            subscribes = await self._process.home(client_id).subscribes(client_id, patterns)
        except ClientUnknown:
            return list(patterns)
        return [pattern for pattern, does in zip(patterns, subscribes, strict=True) if not does]

    # Looking

    async def subscribed_to(self, client_id: str) -> list[str]:
        """See `engine.abc.Engine`."""
        return sorted((await self._process.home(client_id).look(client_id)).starts)

    async def client_subscribed(self, client_id: str, pattern: str) -> bool:
        """See `engine.abc.Engine`."""
        (subscribes,) = await self._process.home(client_id).subscribes(client_id, [pattern])
        return subscribes

    def _show_joined(self, client_id: str, patterns: Sequence[str], first: set[str]) -> None:
        now = self._process.now()
        for pattern in patterns:
            if pattern in first:
                self._events.show_if_watched(EventKind.CHANNEL_CREATED, now, channel=pattern)
            self._events.show_if_watched(EventKind.SUBSCRIBED, now, client_id=client_id, channel=pattern)
