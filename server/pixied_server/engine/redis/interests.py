"""What is followed for the clients that are held here: for as long as they are, and read it."""

import asyncio
from collections.abc import Iterable, Sequence

from pixied_server.engine.redis.claim import Cursors, RedisClaim
from pixied_server.engine.redis.ear import Log
from pixied_server.engine.redis.following import Following
from pixied_server.engine.redis.process import Process
from pixied_server.errors import PixiedError

__all__ = ["Interests"]

# So long, in seconds, until what failed is tried again.
_PAUSE = 0.1


class Interests:
    """See the module.

    Args:
        process: this process.
        following: what it is told.
    """

    def __init__(self, process: Process, following: Following) -> None:
        self._process = process
        self._following = following

    async def follow(self, claim: RedisClaim, logs: Sequence[Log]) -> None:
        """Follow logs for a client for as long as it is held and reads them."""
        if not claim.lost:
            new = [log for log in logs if log not in claim.followed and claim.reads(log)]
            claim.followed.update(new)
            await self._following.follow(new)

    def unfollow(self, claim: RedisClaim, logs: Iterable[Log]) -> None:
        """Undo that for some logs."""
        gone = claim.followed.intersection(logs)
        claim.followed -= gone
        self._following.unfollow(gone)

    def leave(self, claim: RedisClaim, patterns: Iterable[str]) -> None:
        """A client that is held here gets nothing more through some patterns."""
        for pattern in patterns:
            self._process.listener.unsubscribed(claim.client_id, pattern)
            self.unfollow(claim, claim.remove(pattern))

    def read(self, claim: RedisClaim, cursors: Cursors) -> None:
        """A client that is held here has further logs."""
        if cursors:
            claim.expect(cursors)
            self._process.spawn(self._read_on(claim, cursors))

    async def _read_on(self, claim: RedisClaim, cursors: Cursors) -> None:
        """Have a client read further logs.

        What is older than its subscription may not have been announced yet, and would be taken for its mail if it were
        live before that.
        """
        while not claim.lost and (logs := list(claim.expected(cursors))):
            try:
                await self.follow(claim, logs)
                await self._following.sync({partition for partition, _ in logs})
            except PixiedError:
                await asyncio.sleep(_PAUSE)
                continue
            if not claim.lost:
                claim.add(cursors)
                self._process.listener.behind(claim.client_id)
