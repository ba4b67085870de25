"""What a process of the Redis engine does by the clock.

Each process says that it lives, writes down what its links have confirmed, and probes what it is told by. One of them,
who holds the lease, ends sessions in time, takes old mail away, and puts in order what a dead process has left.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import structlog

from pixied_server.core import idempotency
from pixied_server.engine.abc import Parting
from pixied_server.engine.redis.behind import Behind
from pixied_server.engine.redis.claims import Claims
from pixied_server.engine.redis.events import Events
from pixied_server.engine.redis.following import Following
from pixied_server.engine.redis.partition import Partition
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.progress import Progress, places_in
from pixied_server.engine.redis.repair import Repair
from pixied_server.engine.redis.subscriptions import Subscriptions
from pixied_server.errors import PixiedError

__all__ = ["Housekeeping"]

_log = structlog.get_logger(__name__)

# Sessions end within 100 ms of their deadline: it is looked when the next one that is known is over, but not more often
# than this, in seconds; and so long after one that began since the last look could be, which is the shortest one. That
# is not taken to be longer than this: there may be some of a time when shorter ones were allowed.
_TICK = 0.04
_SHORTEST = 0.1
_WRITE_DOWN = 0.1
_SECOND = 1.0
_PROBE = 5.0
# A partition from which no mark came for so long is not heard.
_SILENT = 15.0
# Whoever has not said for so long that it lives is dead. The lease is shorter, so that someone else is there by then.
_DEAD = 5.0
# Whoever has not said it for so long itself does not judge others before they had time to.
_LATE = 3.0
_LEASE_MS = 2_000
_SLICE = 500
_UNBURIED = 5.0


class Housekeeping:
    """See the module.

    Args:
        process: this process.
        following: what it is told.
        claims: the clients that it holds.
        subscriptions: know who subscribes.
        progress: writes down how far clients are.
        behind: reads again for links that are behind.
        events: knows who watches.
        repair: puts right what was left half done.
    """

    def __init__(
        self,
        process: Process,
        following: Following,
        claims: Claims,
        subscriptions: Subscriptions,
        progress: Progress,
        behind: Behind,
        events: Events,
        repair: Repair,
    ) -> None:
        self._process = process
        self._following = following
        self._claims = claims
        self._subscriptions = subscriptions
        self._progress = progress
        self._behind = behind
        self._events = events
        self._repair = repair
        self._leads = asyncio.Event()
        self._beat_at = 0.0
        self._judges_at = 0.0

    # By the clock

    async def run(self) -> None:
        """Do what is due when it is, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for work, pause in (
                (self._lead, _TICK),
                (self._progress.write_down, _WRITE_DOWN),
                (self._each_second, _SECOND),
                (self._look_for_replicas, _SECOND),
                (self._probe, _PROBE),
            ):
                tasks.create_task(self._repeat(work, pause))

    async def _repeat(self, work: Callable[[], Awaitable[float | None]], pause: float) -> None:
        """Do it again and again, with a pause of so many seconds if it does not say another."""
        while True:
            wait = None
            try:
                wait = await work()
            except PixiedError as error:
                _log.debug("store does not answer", why=str(error))
            except Exception:  # noqa: BLE001 - what is due tomorrow is to be done all the same
                _log.exception("housekeeping failed, and is tried again")
            await asyncio.sleep(pause if wait is None else wait)

    async def tick(self) -> None:
        """Do at once all that is due."""
        await self.end_sessions()
        await self._sweep()
        await self._progress.write_down()

    async def _lead(self) -> float:
        await self._leads.wait()
        return await self.end_sessions()

    async def _each_second(self) -> None:
        await self.beat()
        _, leads = await self._process.partitions[0].do("lease", _LEASE_MS)
        self._behind.forget(self._process.listener.unread())
        if not leads:
            self._leads.clear()
            return
        self._leads.set()
        await self._sweep()
        await self._bury_the_dead()
        await self._repair.step()

    async def _look_for_replicas(self) -> None:
        lacking = [partition for partition in self._process.partitions if not partition.replicated]
        await asyncio.gather(*[partition.look_for_replicas() for partition in lacking])

    async def beat(self) -> None:
        """Say that this process lives."""
        _, dead, self._events.others, new = await self._process.partitions[0].do("beat", repr(_DEAD), self._events.own)
        now = monotonic()
        if now - self._beat_at > _LATE:
            # While the store was away nobody could say that it lives.
            self._judges_at = now + _DEAD
        self._beat_at = now
        if self._leads.is_set() and now >= self._judges_at:
            for process in dead:
                await self.bereave(process.decode())
        if new:
            _log.warning("the others gave this pixied up; it goes on")
            for partition in self._process.partitions:
                self._claims.fall_behind(partition.number)
            await asyncio.gather(*[self._claims.check(partition.number) for partition in self._process.partitions])

    async def enter(self) -> None:
        """This process has come."""
        _, _, self._events.others, _ = await self._process.partitions[0].do("beat", repr(_DEAD), 0)

    async def leave(self) -> None:
        """This process is going."""
        await self._process.partitions[self._process.layout.of(self._process.name)].do("leave", self._process.name)
        await self._process.partitions[0].do("leave", self._process.name)

    async def _probe(self) -> None:
        for partition in self._following.silent(monotonic(), _SILENT):
            self._following.distrust(partition)
        self._following.probe()

    # Sessions and mail whose time is over

    async def end_sessions(self) -> float:
        """End sessions that are over. Returns in how many seconds that has to be done again."""
        until = 0.0
        while not until:
            began = monotonic()
            until = await self._end_some()
        unknown = min(self._process.limits.shortest_session, _SHORTEST) + _TICK
        return max(_TICK, min(until, unknown) - (monotonic() - began))

    async def _end_some(self) -> float:
        """End so many that others get a turn. Returns in how many seconds the next one that there is will be over.

        What some partitions have ended is told, whatever became of the others.
        """
        asked = [one.do("expire", _SLICE) for one in self._process.partitions]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        found = [one for one in answers if not isinstance(one, BaseException)]
        ended = [one for _, _, some in found for one in some]
        for client_id, _ in ended:
            self._process.counters.clients_expired += 1
            self._claims.gone(client_id.decode(), Parting.EXPIRED, "timed out")
        await asyncio.gather(
            *[self._subscriptions.bury(client_id.decode(), fields, "timed out") for client_id, fields in ended]
        )
        for one in answers:
            if isinstance(one, BaseException):
                raise one
        return min((max(0.0, float(until)) for _, until, _ in found if until), default=_SECOND)

    async def _sweep(self) -> None:
        for partition in self._process.partitions:
            await self._sweep_one(partition)

    async def _sweep_one(self, partition: Partition) -> None:
        """What is too old goes: some of it at a time, so that others get a turn."""
        age = repr(self._process.limits.log.age)
        again = True
        while again:
            answers = await asyncio.gather(
                partition.do("sweep", age, _SLICE), partition.do("forget_keys", repr(idempotency.SECONDS), _SLICE)
            )
            again = any(gone == _SLICE for _, gone in answers)

    async def _bury_the_dead(self) -> None:
        """Clients that were ended by a process that died over it."""
        for partition in self._process.partitions:
            await self._bury_in(partition)

    async def _bury_in(self, partition: Partition) -> None:
        cursor: bytes | str = "0"
        while True:
            _, cursor, found = await partition.do("unburied", repr(_UNBURIED), cursor)
            for client_id, fields in found:
                await self._subscriptions.bury(client_id.decode(), fields.split(b"\n") if fields else [], "timed out")
            if cursor == b"0":
                break

    async def bereave(self, process: str) -> None:
        """A process is dead: its clients' mail stays, and their session timeouts begin to run."""
        _log.warning("a pixied is gone, its clients are let go of", process=process)
        home = self._process.partitions[self._process.layout.of(process)]
        _, flat = await home.do("progress_of", process)
        words: list[str | int] = []
        for name, text in zip(flat[::2], flat[1::2], strict=True):
            places = places_in(text.decode())
            words += (name.decode(), len(places), *(word for pair in places.items() for word in pair))
        for partition in self._process.partitions:
            while (await partition.do("bereave", process, _SLICE, len(flat) // 2, *words))[1]:
                pass
        await home.do("leave", process)
        await self._process.partitions[0].do("leave", process)
