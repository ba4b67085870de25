"""What a process is told by its partitions: mail of the logs that it follows, and news of the clients that it holds.

It comes by sharded pub/sub, on one connection for each server. In a partition everything is told in the order of its
places, so one number says how far a partition has been heard. Pub/sub promises nothing: a connection may break, be cut
for being slow, or live on and be silent. So whoever begins to follow waits for a mark that the partition sends on
demand; the offset of each message tells whether one is missing; and what is missing is read from the logs before
anything younger is passed on.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from time import monotonic
from typing import Any, Protocol

import structlog

from pixied_server.core.log import Entry
from pixied_server.engine.redis.ear import Ear, Log, Topic, seen
from pixied_server.engine.redis.failures import StoreUnavailable
from pixied_server.engine.redis.mail import Announcement, announcement, decoded
from pixied_server.engine.redis.partition import Partition
from pixied_server.engine.redis.positions import Positions
from pixied_server.engine.redis.store import Feed, Store
from pixied_server.errors import EngineUnavailable, PixiedError

__all__ = ["Audience", "Following"]

_log = structlog.get_logger(__name__)

_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)


class Audience(Protocol):
    """Who hears what is told. Plain functions."""

    def mail(self, entry: Entry, patterns: Sequence[str]) -> None:
        """Mail of followed patterns, in the order of its positions."""
        ...

    def own_mail(self, client_id: str, entry: Entry, place: int, offset: int) -> None:
        """Mail of a client's inbox, with its place and offset there."""
        ...

    def missed(self, pattern: str, position: int) -> None:
        """Mail of a followed pattern that is gone before anyone could read it."""
        ...

    def told(self, kind: str, words: Sequence[str]) -> None:
        """Anything else that a process is told."""
        ...

    def restored(self, partition: int) -> None:
        """A partition is heard again after it was not: clients may have got mail of their own meanwhile."""
        ...


class _Late(EngineUnavailable):
    """A mark has not come in time. It may come yet."""


class Following:
    """See the module.

    Args:
        store: the store.
        partitions: all of them.
        positions: numbers what is heard.
        process: names this process.
        audience: who hears it.
        patience: so many seconds a mark may take.
    """

    def __init__(
        self,
        store: Store,
        partitions: Sequence[Partition],
        positions: Positions,
        process: str,
        audience: Audience,
        patience: float,
    ) -> None:
        self._store = store
        self._positions = positions
        self._process = process
        self._audience = audience
        self._patience = patience
        self._ears = [Ear(partition, process) for partition in partitions]
        self._feeds: dict[str, Feed] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._readers: set[asyncio.Task[None]] = set()
        self._names = count(1)
        self._closed = False
        self._watching = False

    async def open(self) -> None:
        """Begin to hear what this process is told.

        Raises:
            EngineUnavailable: the store can't be reached.
        """
        for ear in self._ears:
            self._mend(ear, "")
        mending = [ear.mending for ear in self._ears if ear.mending is not None]
        _, late = await asyncio.wait(mending, timeout=self._patience * 2)
        if late:
            raise EngineUnavailable("it did not confirm in time that news is followed")

    async def close(self) -> None:
        """Hear nothing more."""
        self._closed = True
        tasks = [ear.mending for ear in self._ears if ear.mending is not None] + list(self._readers)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for feed in self._feeds.values():
            await feed.close()

    @property
    def hears(self) -> bool:
        """Whether all partitions are heard."""
        return all(ear.held_back is None for ear in self._ears)

    # Following

    async def follow(self, logs: Iterable[Log]) -> None:
        """Follow logs: once this returns all that is appended to them will be told, and `positions` knows from where.

        Raises:
            EngineUnavailable: the store did not confirm it in time. They are followed all the same.
        """
        waiting = [self._begin(self._ears[partition], pattern) for partition, pattern in logs]
        ready = {one for one in waiting if not one.done()}
        if not ready:
            return
        done, late = await asyncio.wait(ready, timeout=self._patience)
        if late:
            raise EngineUnavailable("it did not confirm in time that mail is followed")
        for one in done:
            one.result()

    def unfollow(self, logs: Iterable[Log]) -> None:
        """Undo one `follow` of each."""
        for partition, pattern in logs:
            ear = self._ears[partition]
            topic = ear.topics.get(pattern)
            if topic is None:
                continue
            topic.followers -= 1
            if topic.followers == 0:
                del ear.topics[pattern]
                if not topic.ready.done():
                    # Whoever waits for it has changed its mind.
                    topic.ready.set_result(None)
                if ear.feed is not None:
                    ear.feed.unsubscribe(ear.channel(pattern))

    def _begin(self, ear: Ear, pattern: str) -> "asyncio.Future[None]":
        topic = ear.topics.get(pattern)
        if topic is None:
            topic = ear.topics[pattern] = Topic()
            if ear.feed is not None:
                self._subscribe(ear, [ear.channel(pattern)])
        topic.followers += 1
        return topic.ready

    def follows(self, log: Log) -> bool:
        """Whether a log is followed."""
        return log[1] in self._ears[log[0]].topics

    def offset_at(self, log: Log, place: int) -> int:
        """The offset of a log's last entry at a place; -1 if that is not known."""
        topic = self._ears[log[0]].topics.get(log[1])
        return topic.offset_at(place) if topic is not None else -1

    def watch(self, *, watching: bool) -> None:
        """Hear what watchers are told, or no longer."""
        self._watching = watching
        ear = self._ears[0]
        if ear.feed is not None:
            if watching:
                self._subscribe(ear, [ear.events])
            else:
                ear.feed.unsubscribe(ear.events)

    def appended(self, partition: int, place: int, offsets: Mapping[str, int]) -> None:
        """This process has appended to logs, followed or not, and was told that it did.

        What a store has lost when it comes back is known by this too, for some time.
        """
        self._ears[partition].append(place, offsets)

    # Marks

    async def sync(self, partitions: Collection[int] | None = None) -> None:
        """Wait until everything that these partitions have told by now has been heard; None for all partitions.

        Raises:
            EngineUnavailable: the store did not answer in time.
        """
        ears = self._ears if partitions is None else [self._ears[number] for number in partitions]
        for mark in [self._marked(ear) for ear in ears]:
            # Others wait for it too, who go on if this one is cancelled.
            await asyncio.shield(mark)

    def silent(self, now: float, limit: float) -> list[int]:
        """The partitions from which no mark has come for so many seconds."""
        return [ear.partition.number for ear in self._ears if now - ear.last_mark > limit]

    def probe(self) -> None:
        """Ask each partition for a mark."""
        for ear in self._ears:
            self._marked(ear)

    def distrust(self, partition: int) -> None:
        """A partition's connection is alive but silent: give it up."""
        ear = self._ears[partition]
        ear.last_mark = monotonic()
        if ear.feed is not None:
            feed = ear.feed
            _log.warning("store connection is silent, opening another", node=feed.node)
            feed.abort()

    def _marked(self, ear: Ear) -> "asyncio.Future[None]":
        """The mark that is asked for next: all who want one in this turn wait for the same."""
        if ear.wanted is None:
            ear.wanted = asyncio.get_running_loop().create_future()
            ear.wanted.add_done_callback(seen)
            asyncio.get_running_loop().call_soon(self._ask_for_mark, ear, ear.wanted)
        return ear.wanted

    def _ask_for_mark(self, ear: Ear, mark: "asyncio.Future[None]") -> None:
        ear.wanted = None
        name = str(next(self._names))
        ear.marks[name] = mark
        late = _Late("it did not tell in time how far it is")
        timer = asyncio.get_running_loop().call_later(2 * self._patience, _fail, mark, late)
        mark.add_done_callback(lambda _: timer.cancel())
        asked = ear.partition.do("sync", name)
        asked.add_done_callback(lambda one: self._mark_failed(ear, name, one))

    def _mark_failed(self, ear: Ear, name: str, asked: "asyncio.Future[list[Any]]") -> None:
        error = EngineUnavailable("it was given up") if asked.cancelled() else asked.exception()
        if error is not None and (mark := ear.marks.pop(name, None)) is not None:
            _fail(mark, error)

    def _mark(self, ear: Ear, name: str, place: int) -> None:
        ear.last_mark = monotonic()
        mark = ear.marks.pop(name, None)
        marks = [mark] if mark is not None else []
        if place < ear.heard and ear.held_back is None:
            self._mend(ear, "the store lost mail")
        if ear.held_back is not None:
            ear.deferred += marks
            ear.deferred_upto = place
        else:
            self._reached(ear, place, marks)

    def _reached(self, ear: Ear, place: int, marks: list["asyncio.Future[None]"]) -> None:
        ear.heard = max(ear.heard, place)
        self._positions.reach(ear.partition.number, ear.heard)
        for mark in marks:
            if not mark.done():
                mark.set_result(None)

    # Connections

    def _mend(self, ear: Ear, why: str) -> None:
        """Connect a partition anew, and read what was missed; what is told meanwhile is held back."""
        if why and self.hears and not self._closed:
            # One line for all partitions: they are lost together, or one leads to the others.
            _log.warning("the store is not heard", partition=ear.partition.number, why=why)
        if ear.held_back is None:
            ear.held_back = []
        if ear.mending is None and not self._closed:
            ear.mending = asyncio.get_running_loop().create_task(self._mended(ear, again=bool(why)))

    async def _mended(self, ear: Ear, *, again: bool) -> None:
        try:
            for attempt in count():
                try:
                    await self._connect(ear)
                    await self._catch_up(ear)
                    break
                except (StoreUnavailable, PixiedError, TimeoutError) as error:
                    _log.debug("the store is not reached", partition=ear.partition.number, why=str(error))
                except Exception:  # noqa: BLE001 - a partition that is given up would never be heard again
                    _log.exception("what was missed could not be dealt with, and is read again")
                await asyncio.sleep(_PAUSES[min(attempt, len(_PAUSES) - 1)])
        finally:
            ear.mending = None
        if again:
            if self.hears:
                _log.info("the store is heard again")
            self._audience.restored(ear.partition.number)

    async def _connect(self, ear: Ear) -> None:
        node = await self._store.node_of(ear.partition.key)
        async with self._opening.setdefault(node, asyncio.Lock()):
            feed = self._feeds.get(node)
            if feed is None:
                feed = await self._store.feed(ear.partition.key)
                node = feed.node
                self._feeds[node] = feed
                reader = asyncio.get_running_loop().create_task(self._read(feed))
                self._readers.add(reader)
                reader.add_done_callback(self._readers.discard)
        ear.feed = feed
        ear.unconfirmed.clear()
        ear.all_confirmed.clear()
        channels = [ear.process_channel]
        channels += [ear.channel(pattern) for pattern in ear.topics]
        if self._watching and ear.partition.number == 0:
            channels.append(ear.events)
        self._subscribe(ear, channels)
        await asyncio.wait_for(ear.all_confirmed.wait(), self._patience)

    def _subscribe(self, ear: Ear, channels: list[bytes]) -> None:
        for channel in channels:
            ear.unconfirmed[channel] = ear.unconfirmed.get(channel, 0) + 1
        if ear.feed is not None:
            ear.feed.subscribe(*channels)

    async def _read(self, feed: Feed) -> None:
        """Hear one connection to its end."""
        bases = {ear.partition.base.encode(): ear for ear in self._ears}
        why = "the connection ended"
        try:
            async for kind, channel, data in feed.messages():
                if kind == b"smessage":
                    self._hear(data, channel)
                elif (ear := bases.get(channel[: channel.index(b":") + 1])) is not None and ear.feed is feed:
                    if kind == b"ssubscribe":
                        self._confirmed(ear, channel)
                    elif self._still_wanted(ear, channel):
                        self._mend(ear, "its server gave it away")
        except StoreUnavailable as error:
            why = str(error)
        except Exception:  # noqa: BLE001 - the next connection is to be heard all the same
            _log.exception("what the store told could not be dealt with")
            why = "see the error before"
        finally:
            self._feeds.pop(feed.node, None)
            await feed.close()
            for ear in self._ears:
                if ear.feed is feed and not self._closed:
                    ear.feed = None
                    self._mend(ear, why)

    def _still_wanted(self, ear: Ear, channel: bytes) -> bool:
        """Whether the end of a subscription is not of our doing."""
        return channel == ear.process_channel

    def _confirmed(self, ear: Ear, channel: bytes) -> None:
        left = ear.unconfirmed.get(channel, 1) - 1
        if left:
            ear.unconfirmed[channel] = left
            return
        ear.unconfirmed.pop(channel, None)
        if not ear.unconfirmed:
            ear.all_confirmed.set()
        if ear.held_back is not None:
            return
        pattern = channel.decode().removeprefix(f"{ear.partition.base}mail:")
        topic = ear.topics.get(pattern)
        if topic is not None and not topic.ready.done():
            self._ready_after_mark(ear, [topic])

    def _ready_after_mark(self, ear: Ear, topics: list[Topic]) -> None:
        def marked(mark: "asyncio.Future[None]") -> None:
            waiting = [topic for topic in topics if not topic.ready.done()]
            if mark.exception() is None:
                for topic in waiting:
                    topic.ready.set_result(None)
            elif waiting and isinstance(mark.exception(), _Late):
                self._ready_after_mark(ear, waiting)
            elif waiting and ear.mending is None:
                # The mark could not be asked for; whatever is the matter, reading what was missed mends it.
                self._mend(ear, "no mark came")

        self._marked(ear).add_done_callback(marked)

    # Hearing

    def _hear(self, data: bytes, channel: bytes) -> None:
        if channel.endswith(b":events"):
            self._audience.told("E", data.decode().split("\n"))
            return
        head, _, rest = data.partition(b"\n")
        kind = head[:1]
        if kind == b"M":
            self._mail(self._ears[int(head[1:])], rest)
        elif kind == b"I":
            self._own_mail(self._ears[int(head[1:])], rest)
        elif kind == b"S":
            name, place = rest.decode().split("\n")
            self._mark(self._ears[int(head[1:])], name, int(place))
        else:
            self._audience.told(kind.decode(), rest.decode().split("\n"))

    def _mail(self, ear: Ear, rest: bytes) -> None:
        if ear.held_back is None and int(rest[: rest.index(b"\n")]) <= ear.heard:
            return  # A copy, by way of another of its logs.
        told = announcement(rest.split(b"\n", 3))
        if ear.held_back is not None:
            ear.held_back.append(told)
        elif ear.has_hole(told):
            self._mend(ear, "mail is missing")
            ear.held_back = [told]
        else:
            self._pass_on(ear, told)

    def _pass_on(self, ear: Ear, told: Announcement) -> None:
        ear.heard = told.place
        followed = []
        for pattern, offset in told.logs:
            topic = ear.topics.get(pattern)
            if topic is not None:
                topic.hear(told.place, offset)
                followed.append(pattern)
        position = self._positions.announce(ear.partition.number, told.place)
        if followed:
            self._audience.mail(Entry(position, float(told.at), decoded(told.stored)), followed)

    def _own_mail(self, ear: Ear, rest: bytes) -> None:
        told = announcement(rest.split(b"\n", 3))
        (client_id, _), *_ = told.logs
        if ear.held_back is not None:
            ear.held_back.append((client_id, told))
        elif told.place > ear.heard:
            self._pass_on_own(ear, client_id, told)

    def _pass_on_own(self, ear: Ear, client_id: str, told: Announcement) -> None:
        ear.heard = told.place
        position = self._positions.announce(ear.partition.number, told.place)
        ((_, offset),) = told.logs
        self._audience.own_mail(client_id, Entry(position, float(told.at), decoded(told.stored)), told.place, offset)

    # Reading what was missed

    async def _catch_up(self, ear: Ear) -> None:
        # Marks that were asked for by now stand for no more than what is read; younger ones for more, and will come.
        asked = list(ear.marks)
        upto = int((await ear.partition.do("hello"))[1])
        if upto < max(ear.heard, ear.appended):
            # The same server, and it has less than before: somebody has emptied it, or put old files in their place.
            place, offsets = ear.known()
            words = [word for pair in offsets.items() for word in pair]
            _, noted = await ear.partition.do("lost", place, len(offsets), *words)
            _log.error("the store went back in time", partition=ear.partition.number, logs=noted)
            upto = int((await ear.partition.do("hello"))[1])
        await self._read_missed(ear, upto)
        if ear.feed is None:
            raise StoreUnavailable("the connection broke again")
        self._let_through(ear, upto, asked)

    async def _read_missed(self, ear: Ear, upto: int) -> None:
        """Pass on what the logs hold beyond what was heard, and tell what they do not hold any more."""
        found, gaps = await ear.read(upto)
        for pattern, missing in gaps:
            for _ in range(missing):
                self._audience.missed(pattern, self._positions.reserve(1) + 1)
        for place in sorted(found):
            self._pass_on(ear, found[place])

    def _let_through(self, ear: Ear, upto: int, asked: Sequence[str]) -> None:
        """All up to a place was read: pass on what was held back and is younger, and see to those who wait."""
        ear.heard = max(ear.heard, upto)
        self._positions.reach(ear.partition.number, ear.heard)
        held_back, ear.held_back = ear.held_back or [], None
        for one in held_back:
            if isinstance(one, tuple):
                if one[1].place > ear.heard:
                    self._pass_on_own(ear, *one)
            elif one.place > ear.heard:
                self._pass_on(ear, one)
        deferred, ear.deferred = [*ear.deferred, *(ear.marks.pop(name) for name in asked if name in ear.marks)], []
        self._reached(ear, ear.deferred_upto, deferred)
        # Those that are not confirmed yet will be when they are.
        waiting = [
            topic
            for pattern, topic in ear.topics.items()
            if not topic.ready.done() and ear.channel(pattern) not in ear.unconfirmed
        ]
        if waiting:
            self._ready_after_mark(ear, waiting)


def _fail(mark: "asyncio.Future[None]", error: BaseException) -> None:
    if not mark.done():
        mark.set_exception(error)
