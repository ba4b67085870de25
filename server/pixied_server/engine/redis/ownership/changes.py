"""Changes of the subscriptions of clients that this process owns, whichever process makes them.

Each change of a client has a number, and names the one before: an owner that has missed a change notices, and reads the
client's record.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pixied_server.engine.abc import EndReason, LogName
from pixied_server.engine.redis.ownership.checkpoints import Checkpoints
from pixied_server.engine.redis.ownership.claim import RedisClaim, Starts
from pixied_server.engine.redis.ownership.follow import Follows
from pixied_server.engine.redis.partition.codec import Start
from pixied_server.engine.redis.partition.protocol import Change, Record
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.requests import Requests
from pixied_server.errors import ClientUnknown, EngineUnavailable

__all__ = ["Changes", "Notified", "Owned", "starts_of"]

# How many claims are looked at together.
_AT_ONCE = 200


@dataclass(slots=True)
class Notified:
    """Notifications about a client that is being claimed: Redis may list this process as owner already.

    Attributes:
        claims: how many are under way.
        changed: the client's subscriptions may have changed, or the claim may be lost.
        lost: claims up to this number are over.
        gone: the client's session has ended.
        wanted: processes that want the client, and the claim that each wants to be given up.
    """

    claims: int = 0
    changed: bool = False
    lost: int = 0
    gone: bool = False
    wanted: dict[str, int] = field(default_factory=dict)


class Owned(Protocol):
    """The clients that this process owns.

    Attributes:
        owned: its claims, by client.
        notified: notifications about clients that are being claimed.
    """

    owned: dict[str, RedisClaim]
    notified: dict[str, Notified]

    def lose(self, claim: RedisClaim) -> None:
        """End a claim: another process has claimed the client."""
        ...

    def gone(self, client_id: str, reason: EndReason, detail: str) -> None:
        """End a client's claim: its session has ended."""
        ...


class Changes:
    """See the module.

    Args:
        process: this process.
        clients: the clients that it owns.
        follows: follows logs for them.
        checkpoints: names their links.
        requests: asks other processes.
    """

    def __init__(
        self, process: Process, clients: Owned, follows: Follows, checkpoints: Checkpoints, requests: Requests
    ) -> None:
        self._process = process
        self._clients = clients
        self._follows = follows
        self._checkpoints = checkpoints
        self._requests = requests
        # Claims that have to be refreshed, because the store did not answer.
        self._doubtful: dict[str, RedisClaim] = {}

    def subscribed(self, client_id: str, change: Change, starts: Starts) -> None:
        """Read further logs for a client that this process has subscribed, if it owns the client."""
        if (claim := self._concerned(client_id, change.number)) is None:
            return
        if change.before == claim.changes:
            claim.changes = change.number
            self._follows.read(claim, starts)
        else:
            self._process.spawn(self.look((claim,)))

    def unsubscribed(self, client_id: str, change: Change, patterns: Sequence[str]) -> None:
        """Stop reading some patterns' logs for a client, if this process owns it.

        Args:
            client_id: the client.
            change: its last change.
            patterns: the patterns that the client does not subscribe to.
        """
        if (claim := self._concerned(client_id, change.number)) is None:
            return
        self._follows.leave(claim, patterns)
        if change.before == claim.changes:
            claim.changes = change.number
        else:
            self._process.spawn(self.look((claim,)))

    def on_subscribed(self, client_id: str, change: str) -> None:
        """Refresh a client that is owned here: another process has subscribed it."""
        if (claim := self._concerned(client_id, int(change))) is not None:
            self._process.spawn(self.look((claim,)))

    def on_unsubscribed(self, client_id: str, change: str, before: str, *patterns: str) -> None:
        """Do as `unsubscribed`: another process has unsubscribed a client that is owned here."""
        self.unsubscribed(client_id, Change(int(change), int(before)), patterns)

    async def make_known(self, owner: str, client_id: str, change: int) -> None:
        """Wait until the owner of a client, if there is one, knows of a change: a notification may be late.

        Raises:
            EngineUnavailable: the owner does not answer. It may receive nothing now, and still deliver later.
        """
        if owner and await self._requests.ask(owner, "K", client_id, str(change)) is None:
            record = await self._process.home(client_id).look(client_id)
            if record.fields["process"] == owner and record.fields["claim"] != "0":
                raise EngineUnavailable("it is done, but the pixied that owns the client does not answer")

    def on_change(self, process: str, name: str, client_id: str, change: str) -> None:
        """Answer another process once this one knows of a client's change."""

        async def answer() -> None:
            if (claim := self._concerned(client_id, int(change))) is not None:
                await self.look((claim,))
            if claim is None or claim.client_id not in self._doubtful:
                await self._requests.answer(process, name)

        self._process.spawn(answer())

    async def make_end_known(self, owner: str, client_id: str, reason: str) -> None:
        """Wait until the owner of a client that was destroyed, if it had one, knows of that and why.

        Raises:
            EngineUnavailable: the store does not answer.
        """
        if owner:
            await self._requests.ask(owner, "D", client_id, reason)

    def on_destroyed(self, process: str, name: str, client_id: str, *reason: str) -> None:
        """Answer another process once this one knows that a client was destroyed."""
        self._clients.gone(client_id, EndReason.DESTROYED, "\n".join(reason))
        self._process.spawn(self._requests.answer(process, name))

    def _concerned(self, client_id: str, change: int) -> RedisClaim | None:
        """Return the claim on a client, if it does not know of a change yet."""
        if (notified := self._clients.notified.get(client_id)) is not None:
            notified.changed = True
        claim = self._clients.owned.get(client_id)
        return claim if claim is not None and claim.changes < change else None

    def failed(self, client_id: str, error: EngineUnavailable) -> None:
        """Refresh the claim on a client later, if there is one: what has failed may have been done."""
        claim = self._clients.owned.get(client_id)
        if claim is not None and error.ambiguous:
            self.doubt(claim)

    def doubt(self, claim: RedisClaim) -> None:
        """Refresh a claim later."""
        self._doubtful[claim.client_id] = claim

    async def look(self, claims: Iterable[RedisClaim]) -> None:
        """Refresh claims; if the store does not answer, later."""
        waiting = list(claims)
        for begin in range(0, len(waiting), _AT_ONCE):
            await asyncio.gather(*[self._look(claim) for claim in waiting[begin : begin + _AT_ONCE] if not claim.lost])

    async def look_again(self) -> None:
        """Refresh the claims for which the store did not answer."""
        doubtful, self._doubtful = self._doubtful, {}
        await self.look(doubtful.values())

    async def _look(self, claim: RedisClaim) -> None:
        try:
            await self.refresh(claim)
        except EngineUnavailable:
            self.doubt(claim)

    async def refresh(self, claim: RedisClaim) -> None:
        """Read from the store whether a claim still holds, and what the client subscribes to.

        Raises:
            EngineUnavailable.
        """
        try:
            home = self._process.home(claim.client_id)
            record = await home.look(claim.client_id)
            if int(record.fields["claim"]) != claim.number and not claim.lost:
                self._follows.doubt_inbox(claim)
                if await self._resumed(claim):
                    # Until now nobody was notified of changes.
                    self._checkpoints.note(claim)
                    record = await home.look(claim.client_id)
                else:
                    self._clients.lose(claim)
            self._follows.read_inbox(claim)
        except ClientUnknown:
            self._clients.gone(claim.client_id, EndReason.EXPIRED, "the store has lost it")
        if claim.lost or record.changes < claim.changes:
            return
        claim.changes = record.changes
        starts = starts_of(record)
        self._follows.leave(claim, claim.all_patterns - set(record.starts))
        self._follows.read(claim, {log: start for log, start in starts.items() if not claim.reads(log)})

    async def _resumed(self, claim: RedisClaim) -> bool:
        """Resume a claim that the store has lost. Return False if another process has claimed the client.

        Raises:
            ClientUnknown, EngineUnavailable.
        """
        return await self._process.home(claim.client_id).resume(
            claim.client_id,
            claim.number,
            claim.front_end,
            expires=claim.expires,
            link=self._checkpoints.name_of(claim.checkpoint),
        )


def starts_of(record: Record) -> dict[LogName, Start]:
    """Return where a client's subscriptions begin, for each log."""
    return {
        (pattern, partition): start for pattern, starts in record.starts.items() for partition, start in starts.items()
    }
