"""Checkpoints of links: the store keeps how far clients are for the case that this process dies.

A checkpoint is one field for each link, however many clients it has; each client's record says whether it applies.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from itertools import islice
from typing import TypeVar
from weakref import WeakKeyDictionary

from pixied_server.core.progress import Progress, reaches
from pixied_server.engine.abc import Checkpoint, Delivered
from pixied_server.engine.redis.ownership.claim import RedisClaim
from pixied_server.engine.redis.partition.codec import progress_text
from pixied_server.engine.redis.partition.protocol import Settled
from pixied_server.engine.redis.process import Process

__all__ = ["Checkpoints", "confirmed"]

T = TypeVar("T")

# How many clients are written together, and how many that wait are looked at each time.
_AT_ONCE = 200
_LOOKED_AT = 500


class Checkpoints:
    """See the module.

    Args:
        process: this process.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._names: WeakKeyDictionary[Checkpoint, str] = WeakKeyDictionary()
        self._named = 0
        self._changed: dict[str, RedisClaim] = {}
        # Clients that have joined, and have yet to confirm what they read before; and what of it is written.
        self._waiting: dict[str, tuple[RedisClaim, Progress]] = {}
        self._written: dict[str, str] = {}
        # Confirmations and releases that the store did not take, by client; releases with the client's link.
        self._unconfirmed: dict[str, RedisClaim] = {}
        self._unreleased: dict[str, tuple[Settled, str]] = {}

    def name_of(self, checkpoint: Checkpoint | None) -> str:
        """Return a link's name in the store; "" for none."""
        if checkpoint is None:
            return ""
        name = self._names.get(checkpoint)
        if name is None:
            self._named += 1
            name = self._names[checkpoint] = str(self._named)
        return name

    def note(self, claim: RedisClaim) -> None:
        """Note that a client has joined its link's live messages, or left them."""
        if claim.checkpoint is not None:
            self._changed[claim.client_id] = claim
            self._waiting.pop(claim.client_id, None)

    def forget(self, claim: RedisClaim) -> None:
        """Forget a claim that is over."""
        self._changed.pop(claim.client_id, None)
        self._waiting.pop(claim.client_id, None)
        self._unconfirmed.pop(claim.client_id, None)

    def forget_written(self) -> None:
        """Write all checkpoints anew next time: the store may have lost them."""
        self._written = dict.fromkeys(self._written, "")

    def confirm_later(self, claim: RedisClaim) -> None:
        """Write later what a client has confirmed."""
        self._unconfirmed[claim.client_id] = claim

    def release_later(self, client_id: str, settled: Settled, link: str) -> None:
        """Release a claim later. Until then its link must not confirm more: that would count for the client too."""
        self._unreleased[client_id] = settled, link

    def unreleased(self, client_id: str) -> Settled | None:
        """Return what a claim that could not be released yet knows of a client."""
        return self._unreleased[client_id][0] if client_id in self._unreleased else None

    async def release(self, client_id: str) -> None:
        """Release the claim on a client, if it could not be released yet.

        Raises:
            EngineUnavailable: it is still not released.
        """
        if (settled := self.unreleased(client_id)) is not None:
            await self._process.home(client_id).release(client_id, settled)
            self.released(client_id, settled)

    def released(self, client_id: str, settled: Settled) -> None:
        """Forget to release a claim: the store knows that it is over."""
        if self.unreleased(client_id) is settled:
            del self._unreleased[client_id]

    async def write(self) -> None:
        """Write what changed: first which clients have joined or left, then the checkpoints, both as of this moment.

        The order matters: a checkpoint applies to clients that have joined, so the store has to know first which
        clients have left. A link waits where it does not; the others do not wait with it.

        Raises:
            EngineUnavailable: something could not be written; call it again.
        """
        failures = [*await self._release_all(), *await self._confirm()]
        self._look_at_waiting()
        changed, self._changed = self._changed, {}
        links = {name: progress_text(checkpoint.confirmed()) for checkpoint, name in list(self._names.items())}
        waits = {link for _, link in self._unreleased.values()}
        joined = {client_id: self.name_of(claim.checkpoint) for client_id, claim in changed.items()}
        failed = await self._each(changed, self._write_claim)
        for client_id in failed:
            waits.add(joined[client_id])
            if not changed[client_id].lost:
                self._changed.setdefault(client_id, changed[client_id])
        await self._write_links(links, waits)
        failures += failed.values()
        if failures:
            raise failures[0]

    async def _each(
        self, clients: Mapping[str, T], write: Callable[[str, T], Awaitable[None]]
    ) -> dict[str, BaseException]:
        """Write something of many clients, some at a time, so that others get a turn.

        Returns:
            The failures, by client. Where a partition has failed it is not asked again.
        """
        failed: dict[str, BaseException] = {}
        away: dict[int, BaseException] = {}
        waiting = list(clients.items())
        for begin in range(0, len(waiting), _AT_ONCE):
            asked = []
            for client_id, one in waiting[begin : begin + _AT_ONCE]:
                if (failure := away.get(self._process.layout.of(client_id))) is not None:
                    failed[client_id] = failure
                else:
                    asked.append((client_id, one))
            outcomes = await asyncio.gather(*[write(*one) for one in asked], return_exceptions=True)
            await asyncio.sleep(0)
            for (client_id, _), outcome in zip(asked, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    failed[client_id] = away[self._process.layout.of(client_id)] = outcome
        return failed

    async def _release_all(self) -> Collection[BaseException]:
        async def release(client_id: str, _: tuple[Settled, str]) -> None:
            await self.release(client_id)

        return (await self._each(dict(self._unreleased), release)).values()

    async def _write_links(self, links: Mapping[str, str], waits: Collection[str]) -> None:
        may = {name: text for name, text in links.items() if text and name not in waits}
        fresh = {name: text for name, text in may.items() if self._written.get(name) != text}
        closed = set(self._written) - set(self._names.values()) - set(waits)
        if fresh or closed:
            await self._process.home(self._process.name).checkpoint({**fresh, **dict.fromkeys(closed, "")})
            self._written.update(fresh)
            for name in closed:
                del self._written[name]

    def _standing(self, claim: RedisClaim) -> tuple[Progress, bool]:
        """Return what a client has confirmed, and whether its link's checkpoint applies to it."""
        delivered = self._process.listener.delivered(claim.client_id) or Delivered()
        # Catch-up messages are confirmed separately: until they are, the link's checkpoint does not apply.
        applies = claim.live and claim.complete and reaches(delivered.confirmed, claim.joined_at)
        return delivered.confirmed, applies

    def _look_at_waiting(self) -> None:
        """Find clients that have confirmed more of what they had to read, some at a time."""
        for client_id in list(islice(self._waiting, _LOOKED_AT)):
            claim, written = self._waiting.pop(client_id)
            progress, applies = self._standing(claim)
            if applies or progress != written:
                self._changed.setdefault(client_id, claim)
            else:
                self._waiting[client_id] = claim, written

    async def _write_claim(self, client_id: str, claim: RedisClaim) -> None:
        progress, applies = self._standing(claim)
        knows, more = await self._process.home(client_id).follows_link(
            client_id, claim.number, progress, claim.changes, follows=applies
        )
        if more:
            await confirmed(self._process, claim, progress)
        if claim.lost or client_id in self._changed:
            return
        if applies and not knows:
            # Its owner will know of the change when it is notified.
            self._changed[client_id] = claim
        elif claim.live and not applies:
            self._waiting[client_id] = claim, progress

    async def _confirm(self) -> Collection[BaseException]:
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        failed = await self._each(unconfirmed, self._write_confirmed)
        for client_id in failed:
            if not unconfirmed[client_id].lost:
                self._unconfirmed.setdefault(client_id, unconfirmed[client_id])
        return failed.values()

    async def _write_confirmed(self, client_id: str, claim: RedisClaim) -> None:
        delivered = self._process.listener.delivered(client_id)
        if delivered is not None and not claim.lost:
            await confirmed(self._process, claim, delivered.confirmed)


async def confirmed(process: Process, claim: RedisClaim, progress: Progress) -> None:
    """Write what a client has confirmed, and trim its inbox.

    Raises:
        EngineUnavailable: it may be done, wholly or in part.
    """
    home = process.home(claim.client_id)
    while await home.confirm(claim.client_id, claim.number, progress, claim.changes):
        pass
