"""The logs that this process follows for the clients that it owns."""

import asyncio
from collections.abc import Iterable, Sequence

from pixied_server.engine.abc import LogName
from pixied_server.engine.redis.ownership.claim import RedisClaim, Starts
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.subscriber.subscriber import Subscriber
from pixied_server.errors import PixiedError

__all__ = ["Follows"]

# Seconds until the next attempt.
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
        """Follow logs of patterns for a client, unless it is lost or no longer reads them.

        Raises:
            EngineUnavailable: it is not sure yet that all of their messages will be received; call it again.
        """
        if not claim.lost:
            wanted = [log for log in logs if claim.reads(log)]
            new = [log for log in wanted if log not in claim.followed]
            claim.followed.update(new)
            self._subscriber.follow(new)
            await self._subscriber.followed(wanted)

    def follow_inbox(self, claim: RedisClaim, offset: int) -> None:
        """Follow a client's inbox beyond an offset."""
        partition = self._process.layout.of(claim.client_id)
        claim.followed.add((claim.client_id, partition))
        self._subscriber.follow_inbox(claim.client_id, partition, offset)

    def unfollow(self, claim: RedisClaim, logs: Iterable[LogName]) -> None:
        """Stop following logs for a client."""
        gone = claim.followed.intersection(logs)
        claim.followed -= gone
        self._subscriber.unfollow(gone)

    def leave(self, claim: RedisClaim, patterns: Iterable[str]) -> None:
        """End what a client gets through some patterns."""
        for pattern in patterns:
            self._process.listener.unsubscribed(claim.client_id, pattern)
            self.unfollow(claim, claim.remove(pattern))

    def read(self, claim: RedisClaim, starts: Starts) -> None:
        """Begin to read further logs for a client."""
        if starts:
            claim.expect(starts)
            self._process.spawn(self._read_on(claim, starts))

    def doubt_inbox(self, claim: RedisClaim) -> None:
        """Confirm nothing beyond what has come of a client's inbox: messages may be there that were not announced."""
        if not claim.expected_inbox:
            partition = self._process.layout.of(claim.client_id)
            claim.expect({("", partition): self._subscriber.received_of(claim.client_id, partition)})

    def read_inbox(self, claim: RedisClaim) -> None:
        """Read what may have been queued unannounced; from now on all is announced."""
        if starts := claim.expected_inbox:
            self._process.spawn(self._read_inbox(claim, starts))

    async def _read_inbox(self, claim: RedisClaim, starts: Starts) -> None:
        ((_, partition), start), *_ = starts.items()
        sequence = start.sequence
        while not claim.lost and claim.expected(starts):
            try:
                await self._subscriber.barrier({partition})
                asked = [(claim.client_id, sequence, start.offset)]
                upto = self._subscriber.progress[partition]
                read = await self._process.partitions[partition].read(asked, upto=upto, messages=1, size=1)
            except PixiedError:
                await asyncio.sleep(_PAUSE)
                continue
            if claim.lost or not (read.entries or read.losses):
                claim.let_be(starts)
            elif read.entries and read.offsets[0][0][1] <= start.offset:
                # It had come, though what was received then did not reach it yet.
                sequence = read.entries[0].sequence
            else:
                claim.read_again(starts, sequence)
                self._process.listener.behind(claim.client_id)

    async def _read_on(self, claim: RedisClaim, starts: Starts) -> None:
        """Add logs to a client's reads once all that is published to them is received."""
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
