"""The periodic work of a process of the Redis engine.

Each process sends heartbeats, writes its links' checkpoints, and probes its subscriptions. The process that has the
lease also ends sessions, takes old messages away, and reaps dead processes.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic

import structlog

from pixied_server.core import idempotency
from pixied_server.core.traces import without_traces
from pixied_server.engine.abc import EndReason
from pixied_server.engine.redis.operations.events import Events
from pixied_server.engine.redis.operations.subscriptions import Subscriptions
from pixied_server.engine.redis.ownership.checkpoints import Checkpoints
from pixied_server.engine.redis.ownership.ownership import Ownership
from pixied_server.engine.redis.partition.protocol import Partition
from pixied_server.engine.redis.process import Process
from pixied_server.engine.redis.subscriber.subscriber import Subscriber
from pixied_server.engine.redis.upkeep.repair import Repair
from pixied_server.errors import EngineUnavailable, PixiedError

__all__ = ["Upkeep"]

_log = structlog.get_logger(__name__)

# Sessions end within 100 ms of their deadline: the next sweep is at the next deadline that is known, but at least this
# many seconds later. A session that began since the last sweep may end sooner, after the shortest session timeout. That
# counts as at most this long: there may be sessions from a time when shorter ones were allowed.
_TICK = 0.04
_SHORTEST = 0.1
_CHECKPOINT = 0.1
_SECOND = 1.0
_PROBE = 5.0
# A partition without a barrier for so many seconds is not received.
_SILENT = 15.0
# A process without a heartbeat for so many seconds is dead. The lease is shorter: another process has it by then.
_DEAD = 5.0
# A process without a heartbeat of its own for so many seconds first gives the others time for theirs.
_LATE = 3.0
_LEASE_MS = 2_000
_SLICE = 500
_REAPED_AT_ONCE = 50
# An operation that is incomplete after so many seconds was cut off.
_CUT_OFF = 3.0


class Upkeep:
    """See the module.

    Args:
        process: this process.
        subscriber: receives what is published.
        ownership: the clients that it owns.
        subscriptions: the members of patterns.
        checkpoints: writes how far clients are.
        events: the kinds of events that are wanted.
        repair: restores subscriptions that a failover took away.
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
        # What the last heartbeat has shown: processes that are dead, and whether this one was given up.
        self._dead: Sequence[str] = ()
        self._given_up = False

    # By the clock

    async def run(self) -> None:
        """Do all periodic work, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for partition in self._process.partitions:
                # Each for itself: one that does not answer keeps no session of the others from ending in time.
                tasks.create_task(self._repeat(partial(self._lead, partition), _TICK))
            for work, pause in (
                (self._checkpoints.write, _CHECKPOINT),
                (self._live, _SECOND),
                (self._keep_order, _SECOND),
                (self._look_after_claims, _SECOND),
                (self._look_for_replicas, _SECOND),
                (self._look_for_room, _SECOND),
                (self._ownership.give_back_unknown, _SECOND),
                (self._probe, _PROBE),
            ):
                tasks.create_task(self._repeat(work, pause))

    async def _repeat(self, work: Callable[[], Awaitable[float | None]], pause: float) -> None:
        """Repeat work, with the pause that it returns, or this one; in seconds."""
        while True:
            wait = None
            try:
                wait = await work()
            except PixiedError as error:
                _log.debug("store does not answer", why=str(error))
                without_traces(error)  # a store that is away for long would leave one each time
            except Exception:  # noqa: BLE001 - what is due tomorrow is to be done all the same
                _log.exception("upkeep failed, and is tried again")
            await asyncio.sleep(pause if wait is None else wait)

    async def tick(self) -> None:
        """Do now what is due."""
        await self.end_sessions()
        await self._sweep()
        await self._checkpoints.write()
        await self._ownership.give_back_unknown()
        await self._ownership.changes.look_again()

    async def _lead(self, partition: Partition) -> float:
        await self._leads.wait()
        return await self._end_sessions_of(partition)

    async def _live(self) -> None:
        # Nothing that may take long: without heartbeats the others take this process for dead.
        await self._send_beat()
        if await self._process.partitions[0].lease(_LEASE_MS):
            self._leads.set()
        else:
            self._leads.clear()

    async def _look_after_claims(self) -> None:
        await self._take_up()
        await self._ownership.changes.look_again()

    async def _keep_order(self) -> None:
        await self._leads.wait()
        for work in (self._reap_dead, self._sweep, self._finish, self._repair.step, self.reap_strays):
            try:
                await work()
            except EngineUnavailable as error:
                # What comes after it may have to do with other servers.
                _log.debug("store does not answer", why=str(error))
                without_traces(error)

    async def _finish(self) -> None:
        await self.finish_what_was_cut_off(_CUT_OFF)

    async def _in_each(self, work: Callable[[Partition], Awaitable[None]]) -> None:
        """Do something in all partitions at once: one that does not answer keeps the others from nothing.

        Raises:
            EngineUnavailable: some did not answer.
        """
        await _all(map(work, self._process.partitions))

    async def _look_for_replicas(self) -> None:
        lacking = [partition for partition in self._process.partitions if not partition.replicated]
        await asyncio.gather(*[partition.look_for_replicas() for partition in lacking])

    async def _look_for_room(self) -> None:
        await asyncio.gather(*[partition.look_for_room() for partition in self._process.partitions])

    async def beat(self) -> None:
        """Send a heartbeat, take up clients if this process was given up, and reap processes that send none."""
        await self._send_beat()
        await self._take_up()
        await self._reap_dead()

    async def _send_beat(self) -> None:
        dead, self._events.others, given_up = await self._process.partitions[0].beat(_DEAD, self._events.own)
        now = monotonic()
        if now - self._beat_at > _LATE:
            # While the store was away no process could send heartbeats.
            self._judges_at = now + _DEAD
        self._beat_at = now
        self._dead = dead if self._leads.is_set() and now >= self._judges_at else ()
        self._given_up |= given_up

    async def _take_up(self) -> None:
        given_up, self._given_up = self._given_up, False
        if given_up:
            _log.warning("the others gave this pixied up; it goes on")
            await asyncio.gather(*[self._ownership.check(partition.number) for partition in self._process.partitions])

    async def _reap_dead(self) -> None:
        # One that could not be reaped wholly is reported again with the next heartbeat.
        dead, self._dead = self._dead, ()
        for process in dead:
            await self.reap(process)

    async def enter(self) -> None:
        """Send the first heartbeat."""
        _, self._events.others, _ = await self._process.partitions[0].beat(_DEAD, 0)

    async def leave(self) -> None:
        """Remove this process, and release clients that Redis lists as its own without its knowledge."""
        await self._remove(self._process.name, {})

    async def _remove(self, process: str, links: Mapping[str, str]) -> None:
        async def release(partition: Partition) -> None:
            while await partition.reap(process, _REAPED_AT_ONCE, links):
                pass

        await self._in_each(release)
        await self._process.home(process).leave(process)
        await self._process.partitions[0].leave(process)

    async def _probe(self) -> None:
        for partition in self._subscriber.silent(monotonic(), _SILENT):
            self._subscriber.distrust(partition, "silent")
        for partition in self._subscriber.misplaced():
            self._subscriber.distrust(partition, "at a former master")
        self._subscriber.probe()

    # Sessions and messages whose time is over

    async def end_sessions(self) -> float:
        """End sessions that are over. Return after how many seconds to do that again.

        Raises:
            EngineUnavailable: some partitions did not answer; in the others it is done.
        """
        pauses = await asyncio.gather(*map(self._end_sessions_of, self._process.partitions), return_exceptions=True)
        for pause in pauses:
            if isinstance(pause, BaseException):
                raise pause
        return min(pause for pause in pauses if isinstance(pause, float))

    async def _end_sessions_of(self, partition: Partition) -> float:
        until = 0.0
        while not until:
            began = monotonic()
            until = await self._end_some(partition)
        unknown = min(self._process.limits.shortest_session, _SHORTEST) + _TICK
        return max(_TICK, min(until, unknown) - (monotonic() - began))

    async def _end_some(self, partition: Partition) -> float:
        """End a limited number of sessions. Return the seconds to the next deadline."""
        try:
            next_one, ended = await partition.expire(_SLICE)
        except EngineUnavailable as error:
            if error.ambiguous:
                self._ownership.doubt_ends({partition.number})
            raise
        for one in ended:
            self._process.counters.clients_expired += 1
            self._ownership.gone(one.client_id, EndReason.EXPIRED, "timed out")
            self._process.spawn(self._subscriptions.leave(one.client_id, one.patterns, "timed out"))
        return _SECOND if next_one is None else max(0.0, next_one)

    async def _sweep(self) -> None:
        await self._in_each(self._sweep_one)

    async def _sweep_one(self, partition: Partition) -> None:
        """Take away messages and keys that are too old, some at a time, so that other operations get a turn."""
        again = True
        while again:
            swept = partition.sweep(self._process.limits.log.age, _SLICE)
            forgotten = partition.forget_keys(idempotency.SECONDS, _SLICE)
            again = await swept
            again |= (await forgotten) >= _SLICE

    # What a dead process has left

    async def finish_what_was_cut_off(self, age: float) -> None:
        """Complete or undo operations that began so many seconds ago, and are incomplete."""

        async def finish(partition: Partition) -> None:
            cursor = "0"
            while True:
                cursor, found = await partition.leavings(age, cursor)
                await _all(self._subscriptions.finish_leaving(one.client_id, one.patterns) for one in found)
                if cursor == "0":
                    break
            while members := await partition.unjoined(age, _SLICE):
                patterns: dict[str, list[str]] = {}
                for pattern, client_id in members:
                    patterns.setdefault(client_id, []).append(pattern)
                await _all(itertools.starmap(self._subscriptions.finish_joining, patterns.items()))

        await self._in_each(finish)

    async def reap_strays(self) -> None:
        """Reap owners of clients that have gone since they were given up, and that no heartbeat will ever report."""
        for process in await self._repair.strays():
            await self.reap(process)

    async def reap(self, process: str) -> None:
        """Release a dead process's clients: their messages stay, and their session timeouts begin to run."""
        _log.warning("a pixied is gone, its clients are let go of", process=process)
        await self._remove(process, await self._process.home(process).checkpoints(process))


async def _all(work: Iterable[Awaitable[None]]) -> None:
    """Do several things at once, each to its end.

    Raises:
        EngineUnavailable: some parts of the store did not answer.
    """
    for outcome in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome
