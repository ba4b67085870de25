"""Who holds which client: claims of this process, and how a client goes from one process to another."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from pixied_server.engine.abc import Claim, Keeper, Parting
from pixied_server.engine.redis.asking import Asking
from pixied_server.engine.redis.bookmarks import Bookmarks
from pixied_server.engine.redis.claim import Cursors, Place, RedisClaim
from pixied_server.engine.redis.ear import Log
from pixied_server.engine.redis.following import Following
from pixied_server.engine.redis.interests import Interests
from pixied_server.engine.redis.past import Past
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.progress import Progress, places_in
from pixied_server.engine.redis.records import cursor_words, cursors_of, look, record_of, release_words
from pixied_server.errors import ClientUnknown, EngineUnavailable, PixiedError, TakenOver

__all__ = ["Claims"]

# How long, in seconds, another process has to give up a client that is claimed here.
_YIELD = 0.5
# So many claims are looked at at once.
_AT_ONCE = 200
# So much memory, in bytes, is for clients that were let go of: they may name cursors of that time.
_PAST = 8_000_000


@dataclass(slots=True)
class _News:
    """What was told of a client while it is being claimed here: it may be claimed already, and no claim be there yet.

    Attributes:
        claims: how many are under way.
        changed: its subscriptions may have changed, or the claim may be lost.
        lost: claims up to this number are over.
        gone: its session has ended.
        wanted: processes that want it.
    """

    claims: int = 0
    changed: bool = False
    lost: int = 0
    gone: bool = False
    wanted: set[str] = field(default_factory=set)


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
        bookmarks: what cursors of clients stand for.
    """

    def __init__(self, process: Process, following: Following, progress: Progress, asking: Asking) -> None:
        self.held: dict[str, RedisClaim] = {}
        self.partitions = process.partitions
        self.positions = process.positions
        self._process = process
        self._following = following
        self._progress = progress
        self._asking = asking
        self._interests = Interests(process, following)
        self.bookmarks = Bookmarks(
            process, asking, lambda client_id: self.held.get(client_id) or self._past.get(client_id)
        )
        self._past = Past(_PAST)
        self._news: dict[str, _News] = {}
        self._yielded: dict[str, set[asyncio.Event]] = {}

    async def claim(
        self, client_id: str, front_end: str, *, expires: bool, cursor: int = 0, keeper: Keeper | None = None
    ) -> RedisClaim:
        """See `engine.abc.Engine`."""
        named = await self.bookmarks.resolved(client_id, cursor) if cursor else {}
        news = self._news.setdefault(client_id, _News())
        news.claims += 1
        # A task of its own: once the store was asked the client is this process's, whatever becomes of the caller.
        claiming = asyncio.get_running_loop().create_task(
            self._take(client_id, front_end, news, named, expires=expires, keeper=keeper)
        )
        claiming.add_done_callback(lambda _: self._claimed(client_id, news))
        try:
            claim = await asyncio.shield(claiming)
        except asyncio.CancelledError:
            self._process.spawn(self._give_back(claiming))
            raise
        self._check(claim)
        return claim

    async def _give_back(self, claiming: "asyncio.Task[RedisClaim]") -> None:
        await self.release(await claiming, confirmed=0, sent=0)

    def _claimed(self, client_id: str, news: "_News") -> None:
        """A claim was made, or failed."""
        news.claims -= 1
        if not news.claims:
            del self._news[client_id]
            for process in news.wanted:
                self._process.spawn(self._yield(client_id, process))

    def _check(self, claim: RedisClaim) -> None:
        """See that a claim is not over.

        Raises:
            ClientUnknown, TakenOver.
        """
        if claim.lost:
            raise ClientUnknown(claim.client_id) if claim.ended else TakenOver(claim.client_id)

    async def _take(
        self,
        client_id: str,
        front_end: str,
        news: "_News",
        named: Cursors,
        *,
        expires: bool,
        keeper: Keeper | None,
    ) -> RedisClaim:
        number, record, cursors = await self._asked(client_id, front_end, expires=expires, keeper=keeper)
        claim = self._begin(client_id, number, record, cursors, keeper)
        claim.front_end, claim.expires = front_end, expires
        if news.gone:
            self._forget(client_id)
            claim.ended = True
        elif number <= news.lost:
            self._forget(client_id)
        self._check(claim)
        try:
            await self._hold(claim, record, news, named)
        except PixiedError:
            self._check(claim)
            await self.release(claim, confirmed=0, sent=0)
            raise
        self._check(claim)
        return claim

    async def _asked(
        self, client_id: str, front_end: str, *, expires: bool, keeper: Keeper | None
    ) -> tuple[int, dict[str, str], dict[Log, Place]]:
        """Claim a client in the store: the claim's number, what the client was before, and how far it was."""
        yielded: asyncio.Event = asyncio.Event()
        waiting = self._yielded.setdefault(client_id, set())
        waiting.add(yielded)
        try:
            for force in (0, 1):
                words: list[str | int] = [0, 0, 0]
                if (mine := self.held.get(client_id)) is not None:
                    confirmed, sent = self._process.listener.progress(client_id) or (0, 0)
                    words = [mine.number, *release_words(mine.cursors_at(confirmed), mine.sent_at(sent))]
                link = self._progress.name_of(keeper)
                done, *answer = await self._process.home(client_id).do(
                    "claim", client_id, front_end, int(expires), link, force, *words
                )
                if done == 0:
                    raise ClientUnknown(client_id)
                if done == 1:
                    break
                with suppress(TimeoutError):
                    async with asyncio.timeout(_YIELD):
                        await yielded.wait()
            number, record, cursors, empty_upto = answer
            found = cursors_of(cursors)
            home = self._process.layout.of(client_id)
            # It may get its first own mail while it is held. What was not there need not be read, but an inbox is not
            # ahead of what else is in its partition: that counts as sent up to where its furthest log is.
            upto = min((at.place for log, at in found.items() if log[0] == home), default=int(empty_upto))
            found.setdefault((home, ""), Place(min(upto, int(empty_upto)), 0))
            return int(number), record_of(record), found
        finally:
            waiting.discard(yielded)
            if not waiting:
                self._yielded.pop(client_id, None)

    def _begin(
        self,
        client_id: str,
        number: int,
        record: Mapping[str, str],
        cursors: dict[Log, Place],
        keeper: Keeper | None,
    ) -> RedisClaim:
        """By the store this process holds a client: from now on what is told of it concerns this claim.

        Raises:
            TakenOver: a later claim of this process was answered before.
        """
        other = self.held.get(client_id)
        if other is not None and other.number > number:
            raise TakenOver(client_id)
        sent = {int(name[4:]): int(place) for name, place in record.items() if name.startswith("sent")}
        confirmed: Cursors = {}
        if other is not None:
            # Its holder went on until this moment, while the store was asked.
            progress = self._process.listener.progress(client_id) or (0, 0)
            confirmed = other.cursors_at(progress[0])
            for partition, place in other.sent_at(progress[1]).items():
                sent[partition] = max(place, sent.get(partition, 0))
        self._forget(client_id)
        self._process.listener.claimed(client_id)
        past = self._past.pop(client_id)
        claim = RedisClaim(self, client_id, number, cursors, sent, keeper, past.trail if past is not None else ())
        claim.changes = _changes(record)
        claim.unsettled = "unsettled" in record
        claim.advance(confirmed)
        self.held[client_id] = claim
        return claim

    async def _hold(self, claim: RedisClaim, record: Mapping[str, str], news: "_News", named: Cursors) -> None:
        """Find out what the client's mail is, and begin to hear it.

        Raises:
            ClientUnknown, TakenOver, EngineUnavailable.
        """
        if claim.unsettled:
            claim.advance(await self._inherited(record, claim.logs))
        claim.advance(named)
        await self._interests.follow(claim, claim.logs)
        self._check(claim)
        home = self._process.layout.of(claim.client_id)
        await self._following.sync({home, *(partition for partition, _ in claim.logs)})
        if news.changed:
            await self.refresh(claim)
        if claim.unsettled:
            # Nobody knows what the holders before have sent: anything that there was by now.
            claim.was_sent({partition: self.positions.last(partition) for partition, _ in claim.all_logs})
            await self._settle(claim)
        if named:
            await self._confirm(claim, named)

    async def _settle(self, claim: RedisClaim) -> None:
        words = [word for pair in claim.sent.items() for word in pair]
        await self._process.home(claim.client_id).do("settle", claim.client_id, claim.number, len(claim.sent), *words)
        claim.unsettled = False

    async def _inherited(self, record: Mapping[str, str], logs: Iterable[Log]) -> Cursors:
        """The last holder is gone without a word: what its link had confirmed counts."""
        process = record.get("process")
        if not process or record.get("joined") != "1":
            return {}
        _, found = await self._process.partitions[self._process.layout.of(process)].do("progress_of", process)
        places = places_in(record_of(found).get(record["link"], ""))
        return {log: Place(places[log[0]], 0) for log in logs if log[0] in places}

    # Subscriptions of clients that are held

    def subscribed(self, client_id: str, change: int, cursors: Cursors) -> None:
        """This process has subscribed a client, whoever holds it."""
        if (claim := self._concerned(client_id, change)) is None:
            return
        if change == claim.changes + 1:
            claim.changes = change
            self._interests.read(claim, cursors)
        else:
            self._process.spawn(self.refresh(claim))

    def unsubscribed(self, client_id: str, change: int, patterns: Sequence[str], *, known: bool = False) -> None:
        """A client, whoever holds it, does not subscribe to some patterns.

        Args:
            client_id: the client.
            change: the number of its last change.
            patterns: the patterns.
            known: it was so before, and the change was another one.
        """
        if (claim := self._concerned(client_id, change)) is None:
            return
        self._interests.leave(claim, patterns)
        if change == claim.changes + 1 and not known:
            claim.changes = change
        else:
            self._process.spawn(self.refresh(claim))

    def hear_subscribed(self, client_id: str, change: str) -> None:
        """Another process has subscribed a client that is held here."""
        if (claim := self._concerned(client_id, int(change))) is not None:
            self._process.spawn(self.refresh(claim))

    def hear_unsubscribed(self, client_id: str, change: str, *patterns: str) -> None:
        """Another process has unsubscribed a client that is held here."""
        self.unsubscribed(client_id, int(change), patterns)

    async def make_known(self, holder: str, client_id: str, change: int) -> None:
        """Wait until the process that holds a client, if there is one, knows of a change: news of it may be on its way.

        Raises:
            EngineUnavailable: it does not say so. It may hear nothing at the moment, and still have mail to deliver.
        """
        if holder and await self._asking.ask(holder, "K", client_id, str(change)) is None:
            record, _ = await look(self._process, client_id)
            if record["process"] == holder:
                raise EngineUnavailable("it is done, but the pixied that holds the client does not hear of it")

    def hear_change(self, process: str, name: str, client_id: str, change: str) -> None:
        """Another process wants to be sure that this one knows of a change of a client."""

        async def answer() -> None:
            if (claim := self._concerned(client_id, int(change))) is not None:
                await self.refresh(claim)
            await self._asking.answer(process, name)

        self._process.spawn(answer())

    def _concerned(self, client_id: str, change: int) -> RedisClaim | None:
        """The claim that does not know of a change yet."""
        if (news := self._news.get(client_id)) is not None:
            news.changed = True
        claim = self.held.get(client_id)
        return claim if claim is not None and claim.changes < change else None

    async def refresh(self, claim: RedisClaim) -> None:
        """See in the store whether a claim is still good, and what the client subscribes to.

        Raises:
            EngineUnavailable.
        """
        try:
            record, cursors = await look(self._process, claim.client_id)
            if int(record["claim"]) != claim.number and not claim.lost:
                if await self._resumed(claim):
                    # Until now nobody was told of mail for the client.
                    self._fall_behind(claim)
                else:
                    self.lose(claim)
        except ClientUnknown:
            self.gone(claim.client_id, Parting.DESTROYED, "the store has lost it")
        if claim.lost or _changes(record) < claim.changes:
            return
        claim.changes = _changes(record)
        self._interests.leave(claim, claim.all_patterns - {pattern for _, pattern in cursors})
        self._interests.read(claim, {log: place for log, place in cursors.items() if log[1] and not claim.reads(log)})

    async def _resumed(self, claim: RedisClaim) -> bool:
        """Whether a claim that the store does not know goes on, for nobody else has claimed the client.

        Raises:
            ClientUnknown, EngineUnavailable.
        """
        done, *resumed = await self._process.home(claim.client_id).do(
            "resume",
            claim.client_id,
            claim.number,
            claim.front_end,
            int(claim.expires),
            self._progress.name_of(claim.keeper),
        )
        if not done:
            raise ClientUnknown(claim.client_id)
        return bool(resumed[0])

    # The end of claims

    def _forget(self, client_id: str) -> None:
        claim = self.held.pop(client_id, None)
        if claim is not None:
            claim.lost = True
            self._progress.forget(claim)
            self._interests.unfollow(claim, claim.followed)
            # Its link may be gone, and all that waited there is not to be remembered with it.
            claim.keeper = None
            self._past.keep(claim)

    def gone(self, client_id: str, parting: Parting, reason: str) -> None:
        """A session ended: whoever holds it here is told."""
        if (news := self._news.get(client_id)) is not None:
            news.gone = True
        if (claim := self.held.get(client_id)) is not None:
            claim.ended = True
        self._forget(client_id)
        self._past.pop(client_id)
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
        words = release_words(claim.cursors_at(confirmed), claim.sent_at(sent))
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

    # What other processes say

    def hear_wanted(self, client_id: str, process: str) -> None:
        """Another process wants a client that is held here."""
        self._process.spawn(self._yield(client_id, process))

    async def _yield(self, client_id: str, process: str) -> None:
        """Another process wants a client: it gets it, with all that is known of its mail."""
        claim = self.held.get(client_id)
        news = self._news.get(client_id)
        if claim is None and news is not None:
            # By the store it may be held here, and what there is to know comes with the store's answer.
            news.wanted.add(process)
            return
        if claim is not None:
            confirmed, sent = self._process.listener.progress(client_id) or (0, 0)
            self._process.listener.claimed(client_id)
            await self.release(claim, confirmed=confirmed, sent=sent)
        await self._process.home(client_id).do("tell", process, f"R\n{client_id}")

    def hear_yielded(self, client_id: str) -> None:
        """Another process has given up a client that is wanted here."""
        for yielded in self._yielded.get(client_id, ()):
            yielded.set()

    def hear_claimed(self, client_id: str, number: str) -> None:
        """Another process has claimed a client, whatever this one holds up to a claim."""
        if (news := self._news.get(client_id)) is not None:
            news.lost = max(news.lost, int(number))
        claim = self.held.get(client_id)
        if claim is not None and claim.number <= int(number):
            self.lose(claim)

    def fall_behind(self, partition: int) -> None:
        """Mail may have come to clients of a partition, of which this process was not told: they read on."""
        for claim in self._of(partition):
            self._fall_behind(claim)

    def _fall_behind(self, claim: RedisClaim) -> None:
        self._process.listener.behind(claim.client_id)
        self._progress.note(claim)

    async def check(self, partition: int) -> None:
        """The store was away, or this process was: see which clients are still held here, and what is new of them.

        They have fallen behind.
        """
        self._progress.forget_written()
        for client_id, news in self._news.items():
            news.changed |= self._process.layout.of(client_id) == partition
        mine = self._of(partition)
        for begin in range(0, len(mine), _AT_ONCE):
            await asyncio.gather(*[self.refresh(claim) for claim in mine[begin : begin + _AT_ONCE] if not claim.lost])

    def _of(self, partition: int) -> list[RedisClaim]:
        return [claim for claim in self.held.values() if self._process.layout.of(claim.client_id) == partition]


def _changes(record: Mapping[str, str]) -> int:
    """How often a client's subscriptions have changed: nothing is noted of one that never had any."""
    return int(record.get("changes", 0))
