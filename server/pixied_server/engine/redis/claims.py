"""Who holds which client: claims of this process, and how a client goes from one process to another."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pixied_server.engine.abc import NOT_HANDED_OUT, Claim, Keeper, Parting
from pixied_server.engine.redis.asking import Asking
from pixied_server.engine.redis.claim import Cursors, Place, RedisClaim
from pixied_server.engine.redis.following import Following, Log
from pixied_server.engine.redis.positions import BITS
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.progress import Progress, places_in
from pixied_server.engine.redis.records import cursor_words, cursors_of, look, record_of, release_words
from pixied_server.errors import ClientUnknown, EngineUnavailable, FieldInvalid, PixiedError, TakenOver

__all__ = ["Claims"]

# How long, in seconds, another process has to give up a client that is claimed here.
_YIELD = 0.5
# The claims of so many clients that were let go of are remembered, for cursors that they name later.
_PAST = 50_000


class Claims:
    """See the module.

    Args:
        process: this process.
        following: what it is told.
        progress: writes down how far clients are.
        asking: asks other processes.

    Attributes:
        held: the claims of this process, by client.
        partitions, positions: the process's.
    """

    def __init__(self, process: Process, following: Following, progress: Progress, asking: Asking) -> None:
        self.held: dict[str, RedisClaim] = {}
        self.partitions = process.partitions
        self.positions = process.positions
        self._process = process
        self._following = following
        self._progress = progress
        self._asking = asking
        self._past: OrderedDict[str, RedisClaim] = OrderedDict()
        self._yielded: dict[str, asyncio.Future[None]] = {}

    async def claim(
        self, client_id: str, front_end: str, *, expires: bool, cursor: int = 0, keeper: Keeper | None = None
    ) -> RedisClaim:
        """See `engine.abc.Engine`."""
        named = await self._resolved(client_id, cursor) if cursor else {}
        answer = await self._claimed(client_id, front_end, expires=expires, keeper=keeper)
        # From here on the client is held by this process, whatever becomes of the caller.
        claiming = asyncio.get_running_loop().create_task(self._hold(client_id, answer, named, keeper))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._process.spawn(self._give_back(claiming))
            raise

    async def _give_back(self, claiming: "asyncio.Task[RedisClaim]") -> None:
        await self.release(await claiming, confirmed=0, sent=0)

    async def _claimed(self, client_id: str, front_end: str, *, expires: bool, keeper: Keeper | None) -> list[Any]:
        force = 0
        while True:
            mine = self.held.get(client_id)
            progress = self._process.listener.progress(client_id)
            words: list[str | int] = [0, 0, 0]
            if mine is not None and progress is not None:
                words = [mine.number, *release_words(mine.cursors_at(progress[0]), mine.sent_at(progress[1]))]
            link = self._progress.name_of(keeper)
            yielded = self._yielded.setdefault(client_id, asyncio.get_running_loop().create_future())
            answer = await self._process.home(client_id).do(
                "claim", client_id, front_end, int(expires), link, force, *words
            )
            if answer[0] == 1:
                return answer
            if answer[0] == 0:
                raise ClientUnknown(client_id)
            await asyncio.wait([yielded], timeout=_YIELD)
            self._yielded.pop(client_id, None)
            force = 1

    async def _hold(self, client_id: str, answer: list[Any], named: Cursors, keeper: Keeper | None) -> RedisClaim:
        number = int(answer[1])
        other = self.held.get(client_id)
        if other is not None and other.number > number:
            raise TakenOver(client_id)
        record, cursors = record_of(answer[2]), cursors_of(answer[3])
        sent = {int(name[4:]): int(place) for name, place in record.items() if name.startswith("sent")}
        self._forget(client_id)
        self._process.listener.claimed(client_id)
        if record.get("unsettled"):
            await self._inherit(record, cursors)
        for log, place in named.items():
            if log in cursors and cursors[log].place < place.place:
                cursors[log] = place
        # It may get its first own mail while it is held.
        cursors.setdefault((self._process.layout.of(client_id), ""), Place(0, 0))
        past = self._past.pop(client_id, None)
        claim = RedisClaim(self, client_id, number, cursors, sent, keeper, past.trail if past is not None else ())
        self.held[client_id] = claim
        try:
            await self.follow(claim, claim.logs)
            await self._following.sync(
                {self._process.layout.of(client_id), *(partition for partition, _ in claim.logs)}
            )
            if record.get("unsettled"):
                # Nobody knows what the last holder has sent.
                claim.sent = {partition: self._process.positions.last(partition) for partition, _ in cursors}
            if named:
                await self._confirm(claim, named)
        except PixiedError:
            await self.release(claim, confirmed=0, sent=0)
            raise
        if self.held.get(client_id) is not claim:
            raise TakenOver(client_id)
        return claim

    async def _inherit(self, record: Mapping[str, str], cursors: dict[Log, Place]) -> None:
        """The last holder is gone without a word: what its link had confirmed counts."""
        process = record.get("process")
        if not process or record.get("joined") != "1":
            return
        _, found = await self._process.partitions[self._process.layout.of(process)].do("progress_of", process)
        links = record_of(found)
        for partition, place in places_in(links.get(record["link"], "")).items():
            for log, known in cursors.items():
                if log[0] == partition and known.place < place:
                    cursors[log] = Place(place, known.offset)

    async def follow(self, claim: RedisClaim, logs: Sequence[Log]) -> None:
        """Follow logs for a client for as long as it is held and reads them."""
        if not claim.lost:
            new = [log for log in logs if log not in claim.followed]
            claim.followed.update(new)
            await self._following.follow(new)

    def unfollow(self, claim: RedisClaim, logs: Iterable[Log]) -> None:
        """Undo that for some logs."""
        gone = claim.followed.intersection(logs)
        claim.followed -= gone
        self._following.unfollow(gone)

    def _forget(self, client_id: str) -> None:
        claim = self.held.pop(client_id, None)
        if claim is not None:
            claim.lost = True
            self._progress.forget(claim)
            self.unfollow(claim, claim.followed)
            self._past[client_id] = claim
            if len(self._past) > _PAST:
                self._past.popitem(last=False)

    def gone(self, client_id: str, parting: Parting, reason: str) -> None:
        """A session ended: whoever holds it here is told."""
        self._forget(client_id)
        self._past.pop(client_id, None)
        self._process.listener.gone(client_id, parting, reason)

    async def confirm(self, claim: Claim, position: int) -> None:
        """See `engine.abc.Engine`."""
        mine = self.held.get(claim.client_id)
        if mine is not None and mine is claim:
            await self._confirm(mine, mine.cursors_at(position))
            mine.forget_before(position)

    async def _confirm(self, claim: RedisClaim, cursors: Cursors) -> None:
        await self._process.home(claim.client_id).do(
            "confirm", claim.client_id, claim.number, len(cursors), *cursor_words(cursors)
        )

    def lose(self, claim: RedisClaim) -> None:
        """Someone else has claimed a client that is held here."""
        if self.held.get(claim.client_id) is claim:
            self._forget(claim.client_id)
            self._process.listener.claimed(claim.client_id)

    async def release(self, claim: Claim, *, confirmed: int, sent: int) -> None:
        """See `engine.abc.Engine`."""
        if not isinstance(claim, RedisClaim) or claim.lost:
            return
        claim.handed_out = max(claim.handed_out, sent)
        words = release_words(claim.cursors_at(confirmed), claim.sent_at(sent) if sent else {})
        self._forget(claim.client_id)
        try:
            await self._process.home(claim.client_id).do("release", claim.client_id, claim.number, *words)
        except EngineUnavailable:
            self._progress.release_later(claim, words)
            raise

    def joined(self, claim: RedisClaim) -> None:
        """A client has joined its holder's live mail, or left it."""
        progress = self._process.listener.progress(claim.client_id)
        if progress is not None:
            claim.forget_before(progress[0])
        self._progress.note(claim)

    def offset_at(self, log: Log, place: int) -> int:
        """The offset of a log's last entry at a place; -1 if that is not known."""
        return self._following.offset_at(log, place)

    async def _resolved(self, client_id: str, cursor: int) -> Cursors:
        """What a cursor stands for: this process may have handed it out, or another. Nothing, if that is no more.

        Raises:
            ClientUnknown, FieldInvalid.
        """
        ordinal = cursor >> BITS
        if ordinal == self._process.positions.head >> BITS:
            claim = self.held.get(client_id) or self._past.get(client_id)
            if claim is None:
                await look(self._process, client_id)
                raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
            progress = self._process.listener.progress(client_id)
            if cursor > max(claim.farthest, progress[1] if progress else 0, claim.handed_out):
                raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
            return claim.cursors_at(cursor)
        await look(self._process, client_id)
        _, process = await self._process.partitions[0].do("process_of", ordinal)
        if not process:
            raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
        answer = await self._asking.ask(process.decode(), "Q", client_id, str(cursor))
        if answer is None:
            return {}
        known, *words = answer
        if known != "1":
            raise FieldInvalid("ack_cursor", NOT_HANDED_OUT)
        return {
            (int(partition), pattern): Place(int(place), int(offset))
            for partition, pattern, place, offset in (word.split("\t") for word in words)
        }

    # What other processes say

    def hear_question(self, process: str, name: str, client_id: str, cursor: str) -> None:
        """Another process asks what a cursor stands for."""

        async def answer() -> None:
            try:
                cursors = await self._resolved(client_id, int(cursor))
            except PixiedError:
                words = ["0"]
            else:
                words = ["1", *(f"{log[0]}\t{log[1]}\t{at.place}\t{at.offset}" for log, at in cursors.items())]
            await self._asking.answer(process, name, *words)

        self._process.spawn(answer())

    def hear_wanted(self, client_id: str, process: str) -> None:
        """Another process wants a client that is held here."""
        self._process.spawn(self._yield(client_id, process))

    async def _yield(self, client_id: str, process: str) -> None:
        """Another process wants a client: it gets it, with all that is known of its mail."""
        claim = self.held.get(client_id)
        if claim is not None:
            confirmed, sent = self._process.listener.progress(client_id) or (0, 0)
            self._process.listener.claimed(client_id)
            await self.release(claim, confirmed=confirmed, sent=sent)
        await self._process.home(client_id).do("tell", process, f"R\n{client_id}")

    def hear_yielded(self, client_id: str) -> None:
        """Another process has given up a client that is wanted here."""
        yielded = self._yielded.get(client_id)
        if yielded is not None and not yielded.done():
            yielded.set_result(None)

    def hear_claimed(self, client_id: str, number: str) -> None:
        """Another process has claimed a client, whatever this one holds up to a claim."""
        claim = self.held.get(client_id)
        if claim is not None and claim.number <= int(number):
            self.lose(claim)

    async def check(self, partition: int) -> None:
        """The store was away: see which clients that are held here it still knows, and as whose."""
        mine = [claim for claim in self.held.values() if self._process.layout.of(claim.client_id) == partition]
        for claim in mine:
            self._process.listener.behind(claim.client_id)
        for claim in mine:
            try:
                record, _ = await look(self._process, claim.client_id)
            except ClientUnknown:
                self.gone(claim.client_id, Parting.DESTROYED, "the store has lost it")
                continue
            if int(record["claim"]) != claim.number:
                self.lose(claim)
