"""Ownership of clients: how this process claims, yields and loses them. See `claim` for their states."""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias

from pixied_server.core.progress import NOTHING, Progress, later
from pixied_server.engine.abc import Checkpoint, Claim, Delivered, EndReason
from pixied_server.engine.redis.ownership.changes import Changes, Notified, starts_of
from pixied_server.engine.redis.ownership.checkpoints import Checkpoints, confirmed
from pixied_server.engine.redis.ownership.claim import RedisClaim, Starts
from pixied_server.engine.redis.ownership.follow import Follows
from pixied_server.engine.redis.partition.codec import Start, progress_in
from pixied_server.engine.redis.partition.protocol import Claimed, Record, Settled, Wanted
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.requests import Requests
from pixied_server.engine.redis.subscriber.subscriber import Subscriber
from pixied_server.errors import ClientUnknown, EngineUnavailable, PixiedError, TakenOver

__all__ = ["Ownership"]

# How many claims are checked at once.
_AT_ONCE = 200

_LinkName: TypeAlias = tuple[str, str]
"""A process, and the name of one of its links."""


class Ownership:
    """See the module.

    Args:
        process: this process.
        subscriber: receives what is published.
        checkpoints: writes how far clients are.
        requests: asks other processes.
        timeout: seconds that another process has to yield a client that is claimed here.

    Attributes:
        owned: the claims of this process, by client.
        notified: notifications about clients that are being claimed.
        changes: changes of the subscriptions of these clients.
        partitions: the process's.
        announced: see `OwningProcess`.
    """

    def __init__(
        self,
        process: Process,
        subscriber: Subscriber,
        checkpoints: Checkpoints,
        requests: Requests,
        timeout: float,
    ) -> None:
        self.owned: dict[str, RedisClaim] = {}
        self.partitions = process.partitions
        self._process = process
        self._subscriber = subscriber
        self.announced = subscriber.announced
        self._checkpoints = checkpoints
        self._timeout = timeout
        self._follows = Follows(process, subscriber)
        self.notified: dict[str, Notified] = {}
        self.changes = Changes(process, self, self._follows, checkpoints, requests)
        self._yielded: dict[str, set[asyncio.Event]] = {}
        # Clients that Redis may list as this process's, because an answer was lost.
        self._doubtful: set[str] = set()

    @property
    def received(self) -> Progress:
        """See `OwningProcess`."""
        return self._subscriber.progress

    # Claiming

    async def claim(
        self, client_id: str, front_end: str, *, expires: bool, cursor: int, checkpoint: Checkpoint | None
    ) -> RedisClaim:
        """See `engine.abc.Engine`."""
        notified = self.notified.setdefault(client_id, Notified())
        notified.claims += 1
        # A task of its own: once the store was asked, this process may own the client even if the caller is cancelled.
        claiming = asyncio.get_running_loop().create_task(
            self._claim(client_id, front_end, notified, cursor, expires=expires, checkpoint=checkpoint)
        )
        claiming.add_done_callback(lambda _: self._claimed(client_id, notified))
        try:
            claim = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._process.spawn(self._give_back(claiming))
            raise
        self._check(claim)
        return claim

    async def _give_back(self, claiming: "asyncio.Task[RedisClaim]") -> None:
        await self.release(await claiming, Delivered())

    def _claimed(self, client_id: str, notified: Notified) -> None:
        """Finish a claim that was made, or failed."""
        notified.claims -= 1
        if not notified.claims:
            del self.notified[client_id]
            for process, number in notified.wanted.items():
                self._process.spawn(self._yield(client_id, process, number))

    def _check(self, claim: RedisClaim) -> None:
        """Check that a claim is not over.

        Raises:
            ClientUnknown, TakenOver.
        """
        if claim.lost:
            raise ClientUnknown(claim.client_id) if claim.ended else TakenOver(claim.client_id)

    async def _claim(
        self,
        client_id: str,
        front_end: str,
        notified: Notified,
        cursor: int,
        *,
        expires: bool,
        checkpoint: Checkpoint | None,
    ) -> RedisClaim:
        try:
            claimed, checkpoints = await self._ask(client_id, front_end, cursor, expires=expires, checkpoint=checkpoint)
        except EngineUnavailable as error:
            if error.ambiguous:
                self._doubtful.add(client_id)
            raise
        claim = self._begin(client_id, claimed, checkpoint)
        claim.front_end, claim.expires = front_end, expires
        if notified.gone:
            self._forget(client_id)
            claim.ended = True
        elif claimed.number <= notified.lost:
            self._forget(client_id)
        self._check(claim)
        try:
            if claim.unsettled:
                claim.advance(self._inherited(claimed.record, checkpoints))
            await self._catch_on(claim, notified)
        except PixiedError:
            self._check(claim)
            await self.release(claim, Delivered())
            raise
        self._check(claim)
        return claim

    async def _ask(
        self, client_id: str, front_end: str, cursor: int, *, expires: bool, checkpoint: Checkpoint | None
    ) -> tuple[Claimed, Mapping[_LinkName, str]]:
        """Claim a client in the store; if another process owns it, that one has until the timeout to yield it.

        Returns:
            The claim, and the checkpoints of a process that has not yielded the client.
        """
        yielded = asyncio.Event()
        waiting = self._yielded.setdefault(client_id, set())
        waiting.add(yielded)
        checkpoints: Mapping[_LinkName, str] = {}
        try:
            for force in (False, True):
                settled = self._settled(client_id)
                answer = await self._process.home(client_id).claim(
                    client_id,
                    front_end,
                    expires=expires,
                    link=self._checkpoints.name_of(checkpoint),
                    force=force,
                    cursor=cursor,
                    settled=settled,
                )
                if isinstance(answer, Claimed):
                    self._checkpoints.released(client_id, settled)
                    return answer, checkpoints
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._timeout):
                        await yielded.wait()
                if not yielded.is_set():
                    # Now, for what its link confirms once it has lost the client says nothing of that.
                    links = await self._process.home(answer.process).checkpoints(answer.process)
                    checkpoints = {(answer.process, link): text for link, text in links.items()}
            assert not isinstance(answer, Wanted)  # noqa: S101 - a forced claim is never refused
            return answer, checkpoints
        finally:
            waiting.discard(yielded)
            if not waiting:
                self._yielded.pop(client_id, None)

    def _settled(self, client_id: str) -> Settled:
        """Return what this process's claim on a client knows, or one that it has yet to release."""
        mine = self.owned.get(client_id)
        if mine is None:
            return self._checkpoints.unreleased(client_id) or Settled(0)
        return _settled(mine, self._process.listener.delivered(client_id) or Delivered())

    def _begin(self, client_id: str, claimed: Claimed, checkpoint: Checkpoint | None) -> RedisClaim:
        """Route notifications to a new claim: Redis now lists this process as owner.

        Raises:
            TakenOver: a later claim of this process was answered before.
        """
        other = self.owned.get(client_id)
        if other is not None and other.number > claimed.number:
            raise TakenOver(client_id)
        fields, count = claimed.record.fields, len(self.partitions)
        home = self._process.layout.of(client_id)
        starts = starts_of(claimed.record)
        # An inbox that is empty need not be read.
        starts["", home] = Start(claimed.empty, 0)
        claim = RedisClaim(
            self,
            client_id,
            claimed.number,
            starts,
            progress_in(fields.get("progress", ""), count),
            progress_in(fields.get("sent", ""), count),
            checkpoint,
        )
        if other is not None:
            # The former claim's link went on delivering while the store was asked.
            delivered = self._process.listener.delivered(client_id) or Delivered()
            claim.advance(_capped(delivered.confirmed, {log: at for log, at in starts.items() if not other.reads(log)}))
            claim.was_sent(later(other.sent, delivered.sent))
        self._forget(client_id)
        self._process.listener.claimed(client_id)
        claim.changes = claimed.record.changes
        claim.unsettled = "unsettled" in fields
        self.owned[client_id] = claim
        self._follows.follow_inbox(claim, claimed.inbox)
        return claim

    async def _catch_on(self, claim: RedisClaim, notified: Notified) -> None:
        """Begin to receive a client's messages, and settle what was sent of them.

        Raises:
            ClientUnknown, TakenOver, EngineUnavailable.
        """
        await self._follows.follow(claim, claim.logs)
        self._check(claim)
        home = self._process.layout.of(claim.client_id)
        await self._subscriber.barrier({home, *(partition for _, partition in claim.logs)})
        if notified.changed:
            await self.changes.refresh(claim)
        if claim.unsettled:
            # Nobody knows what former owners have sent: it may be anything up to now.
            claim.was_sent(self.received)
            await self._process.home(claim.client_id).settle(claim.client_id, claim.number, claim.sent)
            claim.unsettled = False

    def _inherited(self, record: Record, checkpoints: Mapping[_LinkName, str]) -> Progress:
        """Return the checkpoint of the client's link at its former owner, which has not yielded it."""
        fields = record.fields
        if fields.get("joined") != "1":
            return NOTHING
        return progress_in(checkpoints.get((fields["process"], fields["link"]), ""), len(self.partitions))

    # The end of claims

    def _forget(self, client_id: str) -> None:
        claim = self.owned.pop(client_id, None)
        if claim is not None:
            claim.lost = True
            self._checkpoints.forget(claim)
            self._follows.unfollow(claim, claim.followed)
            # Without this a claim would keep a closed link, and all messages that wait there, in memory.
            claim.checkpoint = None

    def gone(self, client_id: str, reason: EndReason, detail: str) -> None:
        """End a client's claim: its session has ended. Announce that to the listener."""
        if (notified := self.notified.get(client_id)) is not None:
            notified.gone = True
        if (claim := self.owned.get(client_id)) is not None:
            claim.ended = True
        self._forget(client_id)
        self._process.listener.gone(client_id, reason, detail)

    def doubt_ends(self, partitions: Collection[int]) -> None:
        """Look later which sessions of these partitions are over: the answers that name them were lost."""
        for claim in self.owned.values():
            if claim.expires and self._process.layout.of(claim.client_id) in partitions:
                self.changes.doubt(claim)

    async def confirm(self, claim: Claim, progress: Progress) -> None:
        """See `engine.abc.Engine`."""
        mine = self.owned.get(claim.client_id)
        if mine is None or mine is not claim:
            return
        try:
            await confirmed(self._process, mine, progress)
        except EngineUnavailable:
            self._checkpoints.confirm_later(mine)

    def lose(self, claim: RedisClaim) -> None:
        """End a claim: another process has claimed the client."""
        if self.owned.get(claim.client_id) is claim:
            self._forget(claim.client_id)
            self._process.listener.claimed(claim.client_id)

    async def release(self, claim: Claim, delivered: Delivered) -> None:
        """See `engine.abc.Engine`."""
        if not isinstance(claim, RedisClaim) or claim.lost:
            return
        settled = _settled(claim, delivered)
        link = self._checkpoints.name_of(claim.checkpoint)
        self._forget(claim.client_id)
        self._checkpoints.release_later(claim.client_id, settled, link)
        with suppress(EngineUnavailable):
            await self._process.home(claim.client_id).release(claim.client_id, settled)
            self._checkpoints.released(claim.client_id, settled)

    def joined(self, claim: RedisClaim) -> None:
        """See `OwningProcess`."""
        self._checkpoints.note(claim)

    async def give_back_unknown(self) -> None:
        """Release claims whose answers were lost: Redis lists this process as owner, which has no such claim.

        Raises:
            EngineUnavailable: the store does not answer; call it again.
        """
        doubtful = [client_id for client_id in self._doubtful if client_id not in self.notified]
        for begin in range(0, len(doubtful), _AT_ONCE):
            await asyncio.gather(*map(self._give_back_unknown, doubtful[begin : begin + _AT_ONCE]))

    async def _give_back_unknown(self, client_id: str) -> None:
        home = self._process.home(client_id)
        with suppress(ClientUnknown):
            record = await home.look(client_id)
            number, mine = int(record.fields["claim"]), self.owned.get(client_id)
            if record.fields["process"] == self._process.name and (mine is None or mine.number < number):
                # The claim whose answer was lost has ended an older one of this process.
                await home.release(client_id, replace(self._settled(client_id), claim=number))
                if mine is not None:
                    self.lose(mine)
        self._doubtful.discard(client_id)

    # What other processes say

    def on_wanted(self, client_id: str, process: str, number: str) -> None:
        """Yield a client that is owned here: another process wants it."""
        self._process.spawn(self._yield(client_id, process, int(number)))

    async def _yield(self, client_id: str, process: str, number: int) -> None:
        """Release a client to another process, with all that is known of its messages.

        The other process names the claim that it has seen. A later claim of this process stays.
        """
        claim = self.owned.get(client_id)
        notified = self.notified.get(client_id)
        if notified is not None and (claim is None or claim.number < number):
            # Redis may list this process as owner already: decide when its answer has come.
            notified.wanted[process] = number
            return
        if claim is not None and claim.number <= number:
            delivered = self._process.listener.delivered(client_id) or Delivered()
            self._process.listener.claimed(client_id)
            await self.release(claim, delivered)
        await self._checkpoints.release(client_id)
        await self._process.home(client_id).notify(process, f"R\n{client_id}")

    def on_yielded(self, client_id: str) -> None:
        """Note that another process has yielded a client that is wanted here."""
        for yielded in self._yielded.get(client_id, ()):
            yielded.set()

    def on_claimed(self, client_id: str, number: str) -> None:
        """End claims up to a number: another process has claimed the client."""
        if (notified := self.notified.get(client_id)) is not None:
            notified.lost = max(notified.lost, int(number))
        claim = self.owned.get(client_id)
        if claim is not None and claim.number <= int(number):
            self.lose(claim)

    async def check(self, partition: int) -> None:
        """Refresh all claims of a partition: notifications were missed while the store or this process was away."""
        self._checkpoints.forget_written()
        for client_id, notified in self.notified.items():
            notified.changed |= self._process.layout.of(client_id) == partition
        mine = [claim for claim in self.owned.values() if self._process.layout.of(claim.client_id) == partition]
        for claim in mine:
            self._checkpoints.note(claim)
        await self.changes.look(mine)


def _settled(claim: RedisClaim, delivered: Delivered) -> Settled:
    # An earlier claim of this process may have sent more than the store knows.
    sent = later(claim.sent, delivered.sent)
    return Settled(claim.number, delivered.confirmed, sent, delivered.cursors, claim.changes)


def _capped(progress: Progress, starts: Starts) -> Progress:
    """Cap a progress at where subscriptions begin."""
    capped = list(progress)
    for (_, partition), start in starts.items() if capped else ():
        capped[partition] = min(capped[partition], start.sequence)
    return tuple(capped)
