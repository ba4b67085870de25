"""What a process of the Redis engine does by the clock.

Each process says that it lives, writes down what its links have confirmed, and probes what it is told by. One of them,
who holds the lease, ends sessions in time, takes old mail away, and puts in order what a dead process has left.
"""

import asyncio
from collections.abc import Mapping, Sequence
from time import monotonic, time
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import structlog

from pixied_server.core import idempotency
from pixied_server.engine.abc import Keeper, Parting
from pixied_server.engine.redis.behind import Behind
from pixied_server.engine.redis.claim import RedisClaim
from pixied_server.errors import ClientUnknown, PixiedError

if TYPE_CHECKING:
    from pixied_server.engine.redis.engine import RedisEngine

__all__ = ["Housekeeping"]

_log = structlog.get_logger(__name__)

# How often, in seconds, what is due is done: sessions end within 100 ms of their deadline.
_TICK = 0.04
_WRITE_DOWN = 0.1
_SECOND = 1.0
_PROBE = 5.0
# A partition from which no mark came for so long is not heard.
_SILENT = 15.0
# Whoever has not said for so long that it lives is dead. The lease is shorter, so that someone else is there by then.
_DEAD = 5.0
_LEASE_MS = 2_000
_SLICE = 500
_UNBURIED = 5.0


class Housekeeping:
    """See the module.

    Args:
        engine: the engine.

    Attributes:
        watched: whether anyone watches in another process.
        behind: reads again for links that are behind.
    """

    def __init__(self, engine: "RedisEngine") -> None:
        self.watched = False
        self.behind = Behind(
            engine.partitions,
            engine.positions,
            engine.limits.log.messages,
            self._cut,
        )
        self._engine = engine
        self._names: WeakKeyDictionary[Keeper, str] = WeakKeyDictionary()
        self._named = 0
        self._changed: dict[str, RedisClaim] = {}
        self._written: dict[str, str] = {}
        self._late: list[tuple[RedisClaim, list[str | int]]] = []
        self._events: list[str] = []
        self._leads = False

    def _cut(self, pattern: str, position: int) -> None:
        self._engine.listener.cut(pattern, position)

    # By the clock

    async def run(self) -> None:
        """Do what is due when it is, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for work, pause in (
                (self._lead, _TICK),
                (self.write_down, _WRITE_DOWN),
                (self._each_second, _SECOND),
                (self._probe, _PROBE),
            ):
                tasks.create_task(self._repeat(work, pause))

    async def _repeat(self, work: Any, pause: float) -> None:
        while True:
            try:
                await work()
            except PixiedError as error:
                _log.debug("store does not answer", why=str(error))
            except Exception:  # noqa: BLE001 - what is due tomorrow is to be done all the same
                _log.exception("housekeeping failed, and is tried again")
            await asyncio.sleep(pause)

    async def tick(self) -> None:
        """Do at once all that is due."""
        while await self._end_sessions():
            pass
        await self._sweep()
        await self.write_down()

    async def _lead(self) -> None:
        if self._leads:
            while await self._end_sessions():
                pass

    async def _each_second(self) -> None:
        await self.beat()
        _, leads = await self._engine.partitions[0].do("lease", _LEASE_MS)
        self._leads = bool(leads)
        self.behind.forget(self._engine.listener.unread())
        if self._leads:
            await self._sweep()
            await self._bury_the_dead()

    async def beat(self) -> None:
        """Say that this process lives."""
        engine = self._engine
        _, dead, watchers = await engine.partitions[0].do("beat", repr(_DEAD), int(engine.listener.watching))
        self.watched = watchers > int(engine.listener.watching)
        if self._leads:
            for process in dead:
                await self.bereave(process.decode())

    async def enter(self) -> None:
        """This process has come."""
        await self._engine.partitions[0].do("beat", repr(_DEAD), 0)

    async def leave(self) -> None:
        """This process is going."""
        engine = self._engine
        await engine.partitions[engine.layout.of(engine.process)].do("leave", engine.process)
        await engine.partitions[0].do("leave", engine.process)

    async def _probe(self) -> None:
        for partition in self._engine.following.silent(monotonic(), _SILENT):
            self._engine.following.distrust(partition)
        self._engine.following.probe()

    # Sessions and mail whose time is over

    async def _end_sessions(self) -> bool:
        """End sessions that are over. Returns whether there may be more."""
        engine = self._engine
        answers = await asyncio.gather(*[one.do("expire", _SLICE) for one in engine.partitions])
        ended = [one for _, _, some in answers for one in some]
        for client_id, _ in ended:
            engine.counters.clients_expired += 1
            engine.gone(client_id.decode(), Parting.EXPIRED, "timed out")
        await asyncio.gather(*[engine.bury(client_id.decode(), fields, "timed out") for client_id, fields in ended])
        return any(len(some) == _SLICE for _, _, some in answers)

    async def _sweep(self) -> None:
        engine = self._engine
        age = repr(engine.limits.log.age)
        for partition in engine.partitions:
            while (await partition.do("sweep", age, _SLICE))[1] == _SLICE:
                pass
            await partition.do("forget_keys", repr(idempotency.SECONDS))

    async def _bury_the_dead(self) -> None:
        """Clients that were ended by a process that died over it."""
        engine = self._engine
        for partition in engine.partitions:
            cursor: bytes | str = "0"
            while True:
                _, cursor, found = await partition.do("unburied", repr(_UNBURIED), cursor)
                for client_id, fields in found:
                    await engine.bury(client_id.decode(), fields.split(b"\n") if fields else [], "timed out")
                if cursor == b"0":
                    break

    async def bereave(self, process: str) -> None:
        """A process is dead: its clients' mail stays, and their session timeouts begin to run."""
        engine = self._engine
        _log.warning("a pixied is gone, its clients are let go of", process=process)
        home = engine.partitions[engine.layout.of(process)]
        _, flat = await home.do("progress_of", process)
        words: list[str | int] = []
        for name, text in zip(flat[::2], flat[1::2], strict=True):
            places = self.places_in(text.decode())
            words += (name.decode(), len(places), *(word for pair in places.items() for word in pair))
        for partition in engine.partitions:
            while (await partition.do("bereave", process, _SLICE, len(flat) // 2, *words))[1]:
                pass
        await home.do("leave", process)
        await engine.partitions[0].do("leave", process)

    # What links have confirmed

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

    def release_later(self, claim: RedisClaim, words: list[str | int]) -> None:
        """A claim could not be released: that is tried again."""
        self._late.append((claim, words))

    async def write_down(self) -> None:
        """Write down what changed: first who has joined or left, then how far each link is, both as of this moment.

        In this order: a link's progress counts for those who have joined alone, so nobody's may be written before it
        is known who has left.
        """
        await self._release_late()
        engine = self._engine
        changed, self._changed = self._changed, {}
        progress = {name: self._places(keeper) for keeper, name in list(self._names.items())}
        await asyncio.gather(*[self._write_joined(claim) for claim in changed.values()])
        home = engine.partitions[engine.layout.of(engine.process)]
        for name, text in progress.items():
            if text and self._written.get(name) != text:
                await home.do("progress", name, text)
                self._written[name] = text
        for name in set(self._written) - set(self._names.values()):
            await home.do("progress", name, "")
            del self._written[name]

    async def _write_joined(self, claim: RedisClaim) -> None:
        engine = self._engine
        progress = engine.listener.progress(claim.client_id)
        confirmed = progress[0] if progress is not None else 0
        cursors = claim.cursors_at(confirmed) if confirmed else {}
        # What it had to read first went by itself: until that is confirmed, its keeper's progress says nothing of it.
        joined = claim.live and confirmed >= claim.farthest
        if claim.live and not joined and not claim.lost:
            self._changed.setdefault(claim.client_id, claim)
        words = [word for log, at in cursors.items() for word in (f"{log[1]}\0{log[0]}", at.place, at.offset)]
        await engine.home(claim.client_id).do(
            "joined", claim.client_id, claim.number, int(joined), len(cursors), *words
        )

    def _places(self, keeper: Keeper) -> str:
        position = keeper.confirmed()
        if not position:
            return ""
        places = [self._engine.positions.place_at(number, position) for number in range(len(self._engine.partitions))]
        return ",".join(f"{number}:{place}" for number, place in enumerate(places) if place)

    @staticmethod
    def places_in(text: str) -> Mapping[int, int]:
        """The places that a text names, by partition."""
        pairs = (part.split(":") for part in text.split(",") if part)
        return {int(partition): int(place) for partition, place in pairs}

    async def _release_late(self) -> None:
        late, self._late = self._late, []
        for index, (claim, words) in enumerate(late):
            try:
                await self._engine.home(claim.client_id).do("release", claim.client_id, claim.number, *words)
            except PixiedError:
                self._late += late[index:]
                raise

    async def check(self, partition: int, claims: Sequence[RedisClaim]) -> None:
        """The store was away: see which clients that are held here it still knows, and as whose."""
        del partition
        for claim in claims:
            try:
                record = await self._engine.record_of(claim.client_id)
            except ClientUnknown:
                self._engine.gone(claim.client_id, Parting.DESTROYED, "the store has lost it")
                continue
            if int(record["claim"]) != claim.number:
                self._engine.lose(claim)

    # Events

    def show(self, event: str) -> None:
        """Show an event to watchers in other processes."""
        if not self.watched:
            return
        if not self._events:
            self._engine.spawn(self._send_events())
        self._events.append(event)

    async def _send_events(self) -> None:
        await asyncio.sleep(0)
        events, self._events = self._events, []
        for begin in range(0, len(events), _SLICE):
            some = events[begin : begin + _SLICE]
            await self._engine.partitions[0].do("events", len(some), self._engine.process, *some)

    def now(self) -> float:
        """The time, in seconds since the epoch."""
        return time()
