"""How far clients are, as the store has to know it for the case that this process dies.

Each link's progress is one line, however many clients it has; and for each client it is noted whether it counts.
"""

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from pixied_server.engine.abc import Keeper
from pixied_server.engine.redis.claim import RedisClaim
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.records import field_of
from pixied_server.errors import PixiedError

__all__ = ["Progress", "places_in"]


class Progress:
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
        self._late: list[tuple[RedisClaim, list[str | int]]] = []

    def name_of(self, keeper: Keeper | None) -> str:
        """How a keeper is called in the store; "" for none."""
        if keeper is None:
            return ""
        name = self._names.get(keeper)
        if name is None:
            self._named += 1
            name = self._names[keeper] = str(self._named)
        return name

    def note(self, claim: RedisClaim) -> None:
        """A client has joined its keeper's live mail, or left it."""
        if claim.keeper is not None:
            self._changed[claim.client_id] = claim

    def forget(self, claim: RedisClaim) -> None:
        """A claim is over."""
        self._changed.pop(claim.client_id, None)

    def forget_written(self) -> None:
        """The store may have lost what was written down."""
        self._written.clear()

    def release_later(self, claim: RedisClaim, words: list[str | int]) -> None:
        """A claim could not be released: that is tried again."""
        self._late.append((claim, words))

    async def write_down(self) -> None:
        """Write down what changed: first who has joined or left, then how far each link is, both as of this moment.

        In this order: a link's progress counts for those who have joined alone, so nobody's may be written before it
        is known who has left.
        """
        await self._release_late()
        changed, self._changed = self._changed, {}
        progress = {name: self._places(keeper) for keeper, name in list(self._names.items())}
        try:
            await asyncio.gather(*[self._write_joined(claim) for claim in changed.values()])
        except PixiedError:
            self._changed = {name: claim for name, claim in changed.items() if not claim.lost} | self._changed
            raise
        home = self._process.partitions[self._process.layout.of(self._process.name)]
        for name, text in progress.items():
            if text and self._written.get(name) != text:
                await home.do("progress", name, text)
                self._written[name] = text
        for name in set(self._written) - set(self._names.values()):
            await home.do("progress", name, "")
            del self._written[name]

    def _write_joined(self, claim: RedisClaim) -> Awaitable[list[Any]]:
        progress = self._process.listener.progress(claim.client_id)
        confirmed = progress[0] if progress is not None else 0
        cursors = claim.cursors_at(confirmed) if confirmed else {}
        # What it had to read first went by itself: until that is confirmed, its keeper's progress says nothing of it.
        joined = claim.live and claim.reads_all and confirmed >= claim.farthest
        if claim.live and not joined and not claim.lost:
            self._changed.setdefault(claim.client_id, claim)
        words = [word for log, at in cursors.items() for word in (field_of(log), at.place, at.offset)]
        return self._process.home(claim.client_id).do(
            "joined", claim.client_id, claim.number, int(joined), claim.changes, len(cursors), *words
        )

    def _places(self, keeper: Keeper) -> str:
        position = keeper.confirmed()
        if not position:
            return ""
        places = [self._process.positions.place_at(number, position) for number in range(len(self._process.partitions))]
        return ",".join(f"{number}:{place}" for number, place in enumerate(places) if place)

    async def _release_late(self) -> None:
        late, self._late = self._late, []
        for index, (claim, words) in enumerate(late):
            try:
                await self._process.home(claim.client_id).do("release", claim.client_id, claim.number, *words)
            except PixiedError:
                self._late += late[index:]
                raise


def places_in(text: str) -> Mapping[int, int]:
    """The places that a text names, by partition."""
    pairs = (part.split(":") for part in text.split(",") if part)
    return {int(partition): int(place) for partition, place in pairs}
