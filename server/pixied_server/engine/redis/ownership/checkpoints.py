"""How far clients are, as the store has to know it for the case that this process dies.

Each link's progress is one line, however many clients it has; and for each client it is noted whether that counts.
"""

import asyncio
from weakref import WeakKeyDictionary

from pixied_server.core.progress import reaches
from pixied_server.engine.abc import Delivered, Keeper
from pixied_server.engine.redis.ownership.claim import RedisClaim
from pixied_server.engine.redis.partition.codec import progress_text
from pixied_server.engine.redis.partition.protocol import Answer, Settled
from pixied_server.engine.redis.process import Process
from pixied_server.errors import PixiedError

__all__ = ["Checkpoints"]


class Checkpoints:
    """See the module.

    Args:
        process: this process.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._names: WeakKeyDictionary[Keeper, str] = WeakKeyDictionary()
        self._named = 0
        self._changed: dict[str, RedisClaim] = {}
        self._written: dict[str, str] = {}
        self._unreleased: list[tuple[RedisClaim, Settled]] = []

    def name_of(self, keeper: Keeper | None) -> str:
        """How a link is called in the store; "" for none."""
        if keeper is None:
            return ""
        name = self._names.get(keeper)
        if name is None:
            self._named += 1
            name = self._names[keeper] = str(self._named)
        return name

    def note(self, claim: RedisClaim) -> None:
        """A client has joined its link's live messages, or left them."""
        if claim.keeper is not None:
            self._changed[claim.client_id] = claim

    def forget(self, claim: RedisClaim) -> None:
        """A claim is over."""
        self._changed.pop(claim.client_id, None)

    def forget_written(self) -> None:
        """The store may have lost what was written."""
        self._written.clear()

    def release_later(self, claim: RedisClaim, settled: Settled) -> None:
        """A claim could not be released: that is tried again."""
        self._unreleased.append((claim, settled))

    async def write(self) -> None:
        """Write what changed: first who has joined or left, then how far each link is, both as of this moment.

        In this order: a link's progress counts for those who have joined alone, so nobody's may be written before it
        is known who has left.
        """
        await self._release()
        changed, self._changed = self._changed, {}
        links = {name: progress_text(keeper.confirmed()) for keeper, name in list(self._names.items())}
        try:
            await asyncio.gather(*[self._write_claim(claim).result for claim in changed.values()])
        except PixiedError:
            self._changed = {name: claim for name, claim in changed.items() if not claim.lost} | self._changed
            raise
        fresh = {name: text for name, text in links.items() if text and self._written.get(name) != text}
        closed = set(self._written) - set(self._names.values())
        if fresh or closed:
            await self._process.home(self._process.name).checkpoint({**fresh, **dict.fromkeys(closed, "")})
            self._written.update(fresh)
            for name in closed:
                del self._written[name]

    def _write_claim(self, claim: RedisClaim) -> Answer[None]:
        delivered = self._process.listener.delivered(claim.client_id) or Delivered()
        # What it had to read first went by itself: until that is confirmed, its link's checkpoint says nothing of it.
        follows = claim.live and claim.complete and reaches(delivered.confirmed, claim.joined_at)
        if claim.live and not follows and not claim.lost:
            self._changed.setdefault(claim.client_id, claim)
        return self._process.home(claim.client_id).follows_link(
            claim.client_id, claim.number, delivered.confirmed, claim.changes, follows=follows
        )

    async def _release(self) -> None:
        unreleased, self._unreleased = self._unreleased, []
        for index, (claim, settled) in enumerate(unreleased):
            try:
                await self._process.home(claim.client_id).release(claim.client_id, settled)
            except PixiedError:
                self._unreleased += unreleased[index:]
                raise
