"""What a process of the Redis engine does by the clock.

Each process says that it lives, writes down what its links have confirmed, and probes its subscriptions. One of them,
which has the lease, ends sessions in time, takes old messages away, and reaps what a dead process has left.
"""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic

import structlog

from pixied_server.core import idempotency
from pixied_server.engine.abc import EndReason
from pixied_server.engine.redis.operations.events import Events
from pixied_server.engine.redis.operations.subscriptions import Subscriptions
from pixied_server.engine.redis.ownership.checkpoints import Checkpoints
from pixied_server.engine.redis.ownership.ownership import Ownership
from pixied_server.engine.redis.partition.protocol import Partition
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.subscriber.subscriber import Subscriber
from pixied_server.engine.redis.upkeep.repair import Repair
from pixied_server.errors import PixiedError

__all__ = ["Upkeep"]

_log = structlog.get_logger(__name__)

# Sessions end within 100 ms of their deadline: the next look is when the next one that is known is over, but not sooner
# than this, in seconds; and so long after one that began since the last look could be, which is the shortest one. That
# is not taken to be longer than this: there may be some of a time when shorter ones were allowed.
_TICK = 0.04
_SHORTEST = 0.1
_CHECKPOINT = 0.1
_SECOND = 1.0
_PROBE = 5.0
# A partition from which no barrier came for so many seconds is not received.
_SILENT = 15.0
# A process that has not said for so many seconds that it lives is dead. The lease is shorter, so that someone else is
# there by then.
_DEAD = 5.0
# A process that has not said it for so many seconds itself does not judge others before they had time to.
_LATE = 3.0
_LEASE_MS = 2_000
_SLICE = 500
_REAPED_AT_ONCE = 50
# What was cut off so many seconds ago is not under way any more.
_CUT_OFF = 3.0


class Upkeep:
    """See the module.

    Args:
        process: this process.
        subscriber: receives what is published.
        ownership: the clients that it owns.
        subscriptions: know who subscribes.
        checkpoints: writes down how far clients are.
        events: knows who watches.
        repair: puts right what a failover took away.
    """

    def __init__(
        self,
        process: Process,
        subscriber: Subscriber,
        ownership: Ownership,
        subscriptions: Subscriptions,
        checkpoints: Checkpoints,
        events: Events,
        repair: Repair,
    ) -> None:
        self._process = process
        self._subscriber = subscriber
        self._ownership = ownership
        self._subscriptions = subscriptions
        self._checkpoints = checkpoints
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
                (self._checkpoints.write, _CHECKPOINT),
                (self._each_second, _SECOND),
                (self._look_for_replicas, _SECOND),
                (self._look_for_room, _SECOND),
                (self._ownership.give_back_unknown, _SECOND),
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
                _log.exception("upkeep failed, and is tried again")
            await asyncio.sleep(pause if wait is None else wait)

    async def tick(self) -> None:
        """Do at once all that is due."""
        await self.end_sessions()
        await self._sweep()
        await self._checkpoints.write()

    async def _lead(self) -> float:
        await self._leads.wait()
        return await self.end_sessions()

    async def _each_second(self) -> None:
        await self.beat()
        if not await self._process.partitions[0].lease(_LEASE_MS):
            self._leads.clear()
            return
        self._leads.set()
        await self._sweep()
        await self.finish_what_was_cut_off(_CUT_OFF)
        await self._repair.step()

    async def _look_for_replicas(self) -> None:
        lacking = [partition for partition in self._process.partitions if not partition.replicated]
        await asyncio.gather(*[partition.look_for_replicas() for partition in lacking])

    async def _look_for_room(self) -> None:
        await asyncio.gather(*[partition.look_for_room() for partition in self._process.partitions])

    async def beat(self) -> None:
        """Say that this process lives."""
        dead, self._events.others, given_up = await self._process.partitions[0].beat(_DEAD, self._events.own)
        now = monotonic()
        if now - self._beat_at > _LATE:
            # While the store was away nobody could say that it lives.
            self._judges_at = now + _DEAD
        self._beat_at = now
        if self._leads.is_set() and now >= self._judges_at:
            for process in dead:
                await self.reap(process)
        if given_up:
            _log.warning("the others gave this pixied up; it goes on")
            await asyncio.gather(*[self._ownership.check(partition.number) for partition in self._process.partitions])

    async def enter(self) -> None:
        """This process has come."""
        _, self._events.others, _ = await self._process.partitions[0].beat(_DEAD, 0)

    async def leave(self) -> None:
        """This process is going."""
        await self._process.home(self._process.name).leave(self._process.name)
        await self._process.partitions[0].leave(self._process.name)

    async def _probe(self) -> None:
        for partition in self._subscriber.silent(monotonic(), _SILENT):
            self._subscriber.distrust(partition)
        self._subscriber.probe()

    # Sessions and messages whose time is over

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

        What some partitions have ended is announced, whatever became of the others.
        """
        answers = [partition.expire(_SLICE) for partition in self._process.partitions]
        results = await asyncio.gather(*[answer.result for answer in answers], return_exceptions=True)
        nexts: list[float] = []
        for answer, result in zip(answers, results, strict=True):
            if isinstance(result, BaseException):
                continue
            next_one, ended = await answer
            nexts += [] if next_one is None else [max(0.0, next_one)]
            for one in ended:
                self._process.counters.clients_expired += 1
                self._ownership.gone(one.client_id, EndReason.EXPIRED, "timed out")
                self._process.spawn(self._subscriptions.leave(one.client_id, one.patterns, "timed out"))
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return min(nexts, default=_SECOND)

    async def _sweep(self) -> None:
        for partition in self._process.partitions:
            await self._sweep_one(partition)

    async def _sweep_one(self, partition: Partition) -> None:
        """What is too old goes: some of it at a time, so that others get a turn."""
        again = True
        while again:
            swept = partition.sweep(self._process.limits.log.age, _SLICE)
            forgotten = partition.forget_keys(idempotency.SECONDS, _SLICE)
            again = (await swept) >= _SLICE
            again |= (await forgotten) >= _SLICE

    # What a dead process has left

    async def finish_what_was_cut_off(self, age: float) -> None:
        """Finish or undo what somebody began so many seconds ago, and has not finished."""
        for partition in self._process.partitions:
            cursor = "0"
            while True:
                cursor, found = await partition.leavings(age, cursor)
                for one in found:
                    await self._subscriptions.finish_leaving(one.client_id, one.patterns)
                if cursor == "0":
                    break
            while members := await partition.unjoined(age, _SLICE):
                for pattern, client_id in members:
                    await self._subscriptions.finish_joining(client_id, pattern)

    async def reap(self, process: str) -> None:
        """Let go of a dead process's clients: their messages stay, and their session timeouts begin to run."""
        _log.warning("a pixied is gone, its clients are let go of", process=process)
        links = await self._process.home(process).checkpoints(process)
        for partition in self._process.partitions:
            while await partition.reap(process, _REAPED_AT_ONCE, links):
                pass
        await self._process.home(process).leave(process)
        await self._process.partitions[0].leave(process)
