"""Checkpoints of links: the store keeps how far clients are for the case that this process dies.

A checkpoint is one field for each link, however many clients it has; each client's record says whether it applies.
"""

import asyncio
from collections.abc import Collection, Mapping
from weakref import WeakKeyDictionary

from pixied_server.core.progress import Progress, reaches
from pixied_server.engine.abc import Checkpoint, Delivered
from pixied_server.engine.redis.ownership.claim import RedisClaim
from pixied_server.engine.redis.partition.codec import progress_text
from pixied_server.engine.redis.partition.protocol import Settled
from pixied_server.engine.redis.process import Process
from pixied_server.errors import EngineUnavailable, PixiedError

__all__ = ["Checkpoints", "confirmed"]


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

    def forget(self, claim: RedisClaim) -> None:
        """Forget a claim that is over."""
        self._changed.pop(claim.client_id, None)
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

    async def release(self, *clients: str) -> None:
        """Release the claims on these clients that could not be released yet.

        Raises:
            EngineUnavailable: some are still not released.
        """
        # As of this moment: whoever else releases one of them may be done before this begins.
        waiting = [
            (client_id, self._unreleased[client_id][0]) for client_id in clients if client_id in self._unreleased
        ]
        outcomes = await asyncio.gather(*[self._release(*one) for one in waiting], return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _release(self, client_id: str, settled: Settled) -> None:
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
        failures: list[BaseException] = []
        for work in (self._release_all, self._confirm):
            try:
                await work()
            except EngineUnavailable as error:
                failures.append(error)
        changed, self._changed = self._changed, {}
        links = {name: progress_text(checkpoint.confirmed()) for checkpoint, name in list(self._names.items())}
        waits = {link for _, link in self._unreleased.values()}
        joined = {client_id: self.name_of(claim.checkpoint) for client_id, claim in changed.items()}
        writing = [self._write_claim(claim) for claim in changed.values()]
        for claim, outcome in zip(
            changed.values(), await asyncio.gather(*writing, return_exceptions=True), strict=True
        ):
            if isinstance(outcome, BaseException):
                failures.append(outcome)
                waits.add(joined[claim.client_id])
                if not claim.lost:
                    self._changed.setdefault(claim.client_id, claim)
        await self._write_links(links, waits)
        if failures:
            raise failures[0]

    async def _release_all(self) -> None:
        await self.release(*self._unreleased)

    async def _write_links(self, links: Mapping[str, str], waits: Collection[str]) -> None:
        may = {name: text for name, text in links.items() if text and name not in waits}
        fresh = {name: text for name, text in may.items() if self._written.get(name) != text}
        closed = set(self._written) - set(self._names.values()) - set(waits)
        if fresh or closed:
            await self._process.home(self._process.name).checkpoint({**fresh, **dict.fromkeys(closed, "")})
            self._written.update(fresh)
            for name in closed:
                del self._written[name]

    async def _write_claim(self, claim: RedisClaim) -> None:
        delivered = self._process.listener.delivered(claim.client_id) or Delivered()
        # Catch-up messages are confirmed separately: until they are, the link's checkpoint does not apply.
        follows = claim.live and claim.complete and reaches(delivered.confirmed, claim.joined_at)
        knows = await self._process.home(claim.client_id).follows_link(
            claim.client_id, claim.number, delivered.confirmed, claim.changes, follows=follows
        )
        # Where the store has a change of which this process was not notified yet, the checkpoint did not apply.
        if claim.live and not (follows and knows) and not claim.lost:
            self._changed.setdefault(claim.client_id, claim)

    async def _confirm(self) -> None:
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        try:
            await asyncio.gather(*[self._write_confirmed(claim) for claim in unconfirmed.values()])
        except PixiedError:
            self._unconfirmed = {name: one for name, one in unconfirmed.items() if not one.lost} | self._unconfirmed
            raise

    async def _write_confirmed(self, claim: RedisClaim) -> None:
        delivered = self._process.listener.delivered(claim.client_id)
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
