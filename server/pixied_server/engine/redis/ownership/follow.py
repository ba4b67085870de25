"""What is followed for the clients that this process owns: for as long as it does, and they read it."""

import asyncio
from collections.abc import Iterable, Sequence

from pixied_server.engine.abc import LogName
from pixied_server.engine.redis.ownership.claim import RedisClaim, Starts
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.subscriber.subscriber import Subscriber
from pixied_server.errors import PixiedError

__all__ = ["Follows"]

# Seconds until what failed is tried again.
_PAUSE = 0.1


class Follows:
    """See the module.

    Args:
        process: this process.
        subscriber: follows logs.
    """

    def __init__(self, process: Process, subscriber: Subscriber) -> None:
        self._process = process
        self._subscriber = subscriber

    async def follow(self, claim: RedisClaim, logs: Sequence[LogName]) -> None:
        """Follow logs of patterns for a client for as long as it is owned and reads them."""
        if not claim.lost:
            new = [log for log in logs if log not in claim.followed and claim.reads(log)]
            claim.followed.update(new)
            await self._subscriber.follow(new)

    def follow_inbox(self, claim: RedisClaim, offset: int) -> None:
        """Follow a client's inbox beyond an offset."""
        partition = self._process.layout.of(claim.client_id)
        claim.followed.add((claim.client_id, partition))
        self._subscriber.follow_inbox(claim.client_id, partition, offset)

    def unfollow(self, claim: RedisClaim, logs: Iterable[LogName]) -> None:
        """Undo that for some logs."""
        gone = claim.followed.intersection(logs)
        claim.followed -= gone
        self._subscriber.unfollow(gone)

    def leave(self, claim: RedisClaim, patterns: Iterable[str]) -> None:
        """A client that is owned here gets nothing more through some patterns."""
        for pattern in patterns:
            self._process.listener.unsubscribed(claim.client_id, pattern)
            self.unfollow(claim, claim.remove(pattern))

    def read(self, claim: RedisClaim, starts: Starts) -> None:
        """A client that is owned here has further logs."""
        if starts:
            claim.expect(starts)
            self._process.spawn(self._read_on(claim, starts))

    async def _read_on(self, claim: RedisClaim, starts: Starts) -> None:
        """Have a client read further logs, once everything that is published there is received."""
        while not claim.lost and (logs := list(claim.expected(starts))):
            try:
                await self.follow(claim, logs)
                await self._subscriber.barrier({partition for _, partition in logs})
            except PixiedError:
                await asyncio.sleep(_PAUSE)
                continue
            if not claim.lost:
                claim.add(starts)
                self._process.listener.behind(claim.client_id)
