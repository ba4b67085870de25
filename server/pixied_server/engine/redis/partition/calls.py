"""The calls of one partition: each carries all operations that were asked for during the call before."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import structlog

from pixied_server.engine.redis.connection.failures import StoreFull, StoreUnavailable
from pixied_server.engine.redis.connection.store import Script, Store
from pixied_server.engine.redis.connection.wire import Wire
from pixied_server.engine.redis.partition.clock import ElapsedClock
from pixied_server.engine.redis.partition.script import DISPLACES, FREEING, NEEDS_ROOM, PROMISES, SCRIPT, WEIGHTS
from pixied_server.errors import EngineUnavailable

__all__ = ["Argument", "Calls", "Known", "MakeRoom", "Totals"]

_log = structlog.get_logger(__name__)

Argument: TypeAlias = bytes | int | str

# How many logs one call names to a server that has replaced another.
_LOGS_AT_ONCE = 1_000
# One call blocks the server's other clients for about 1 ms, or for as long as a megabyte takes.
_WEIGHT = 200
_BYTES = 1_000_000

MakeRoom: TypeAlias = Callable[[int, float], Awaitable[bool]]
"""Makes room on a partition's server, unless that was done since a time of the loop. Returns whether there is room."""

Known: TypeAlias = Callable[[], tuple[int, Mapping[str, int]]]
"""The highest sequence that was announced or answered, as far as this process knows, and the highest offset of each
log."""


@dataclass(slots=True)
class Totals:
    """What a partition held when it last answered."""

    bytes: int
    messages: int
    subscriptions: int
    clients: int
    patterns: int
    namespaces: int
    keys: int


class _Operation:
    """An operation that waits for its result."""

    __slots__ = ("arguments", "name", "result", "size", "weight")

    def __init__(self, name: str, arguments: Sequence[Argument], result: "asyncio.Future[list[Any]]") -> None:
        self.name = name
        self.arguments = arguments
        self.result = result
        # This runs for each operation, and a generator takes twice as long as a loop.
        size = 0
        for one in arguments:
            if not isinstance(one, int):
                size += len(one)
        self.size = size
        self.weight = WEIGHTS.get(name, 1)


class Calls:
    """See the module. The store executes operations in the order of the calls of `ask`.

    Args:
        store: the store.
        base: the common prefix of the names of the partition's keys.
        number: the partition's.
        process: this process's name.
        clock: tells the time in seconds since the epoch; None for the store's own, corrected.
        replicas: a change is answered only when so many replicas of its server have it.

    Attributes:
        totals: what the partition held when it last answered. Unset until it has.
        trouble: why the last call failed; "" if it did not.
        full: whether its server had no memory left when it was last asked to store something.
        replicated: whether enough replicas had the last change that they were waited for.
        known: what this process knows of messages. Set before anything else is called.
        make_room: takes old messages away for new ones. Set before anything else is called.
    """

    totals: Totals
    known: Known
    make_room: MakeRoom

    def __init__(
        self,
        store: Store,
        base: str,
        number: int,
        process: str,
        clock: Callable[[], float] | None,
        replicas: int = 0,
    ) -> None:
        self.base = base
        self.number = number
        self.trouble = ""
        self.full = False
        self.replicated = True
        self._store = store
        self._process = process
        self._clock = clock
        self._elapsed = ElapsedClock()
        self._correcting: asyncio.Task[None] | None = None
        self._replicas = replicas
        self._replicated_key = f"{base}replicated".encode()
        self._informed = ""
        self._promising: set[asyncio.Task[None]] = set()
        self._keys = (f"{base}meta".encode(), f"{base}absent".encode())
        self._waiting: deque[_Operation] = deque()
        self._calling: asyncio.Task[None] | None = None

    @property
    def key(self) -> bytes:
        """A key of the partition, to find its server."""
        return self._keys[0]

    @property
    def busy(self) -> bool:
        """Whether an operation has yet to be answered."""
        return self._calling is not None or bool(self._promising)

    def ask(self, name: str, *arguments: Argument) -> "asyncio.Future[list[Any]]":
        """Ask for an operation of the script.

        Returns:
            Its result, which begins with 1, or with 0 and a code.

        Raises:
            EngineUnavailable: the store does not answer. It may have executed the operation (`ambiguous`).
        """
        result: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Operation(name, arguments, result))
        if self._calling is None:
            self._calling = asyncio.get_running_loop().create_task(self._call())
        return result

    async def ask_at_once(self, name: str, *arguments: Argument) -> list[Any]:
        """Ask for an operation that needs no room, ahead of all that wait.

        Raises:
            EngineUnavailable: the store does not answer. It may have executed the operation.
        """
        operation = _Operation(name, arguments, asyncio.get_running_loop().create_future())
        try:
            answer, wire = await self._run(FREEING, [operation])
        except StoreUnavailable as error:
            raise EngineUnavailable(str(error)) from None
        self._answer([operation], answer, wire)
        return await operation.result

    @property
    def known_server(self) -> str | None:
        """The name of the server that has the partition, as far as is known."""
        return self._store.known_node_of(self.key)

    async def server(self) -> str:
        """Return the name of the server that has the partition.

        Raises:
            EngineUnavailable: no server of the store says which it is.
        """
        try:
            return await self._store.node_of(self.key)
        except StoreUnavailable as error:
            raise EngineUnavailable(str(error)) from None

    async def _call(self) -> None:
        try:
            while self._waiting:
                await self._call_once(self._portion())
        finally:
            self._calling = None

    def _portion(self) -> list[_Operation]:
        portion: list[_Operation] = []
        size = weight = 0
        while self._waiting and weight < _WEIGHT and size < _BYTES:
            one = self._waiting.popleft()
            if not one.result.cancelled():
                portion.append(one)
                size += one.size
                weight += one.weight
        return portion

    async def _call_once(self, portion: list[_Operation]) -> None:
        if not portion:
            return
        try:
            answer, wire = await self._run_with_room(portion)
            self._waiting.extendleft(reversed(self._answer(portion, answer, wire)))
        except StoreFull as error:
            await self._free(portion, error)
        except StoreUnavailable as error:
            self.trouble = str(error)
            # Operations that wait behind these would only wait for the same timeout again.
            self._fail([*portion, *self._waiting], error)
            self._waiting.clear()
        except Exception as error:  # noqa: BLE001 - for those who wait
            for one in portion:
                if not one.result.done():
                    one.result.set_exception(error)

    async def _run_with_room(self, portion: list[_Operation]) -> tuple[list[Any], Wire]:
        """Execute operations; if there is no memory left for new messages, take old ones away and try once more."""
        began = asyncio.get_running_loop().time()
        try:
            return await self._run(SCRIPT, portion)
        except StoreFull:
            has_room = False
            if any(one.name in DISPLACES for one in portion):
                # Where that can't be found out, what needs no room is done all the same.
                with suppress(EngineUnavailable):
                    has_room = await self.make_room(self.number, began)
            if not has_room:
                raise
        return await self._run(SCRIPT, portion)

    async def _free(self, portion: list[_Operation], error: StoreFull) -> None:
        """Refuse operations that need room, as the store is full, and execute the others: they may free some."""
        refused = [one for one in portion if one.name in NEEDS_ROOM]
        freeing = [one for one in portion if one.name not in NEEDS_ROOM]
        if refused:
            self.full = True
            self._fail(refused, error)
        if not freeing:
            return
        try:
            while freeing:
                answer, wire = await self._run(FREEING, freeing)
                freeing = self._answer(freeing, answer, wire)
        except StoreUnavailable as again:
            self.trouble = str(again)
            self._fail(freeing, again)

    async def _run(self, script: Script, portion: list[_Operation]) -> tuple[list[Any], Wire]:
        while True:
            expected = self._elapsed.expected() if self._clock is None else None
            arguments: list[Argument] = [self._time(expected), self._process, self.number]
            for one in portion:
                arguments += (one.name, len(one.arguments), *one.arguments)
            answer, wire = await self._store.run_on(self._keys, script, arguments)
            if isinstance(answer[0], list):
                if self._clock is None:
                    self._check_clock(float(answer[0][-2]), float(answer[0][-1]), expected)
                return answer, wire
            # The server has replaced another one: it first learns what that one has announced and answered.
            await self._inform(wire)
            await asyncio.sleep(answer[0] / 1_000_000)

    def _time(self, expected: float | None) -> str:
        if self._clock is not None:
            return f"={self._clock()!r}"
        return "" if expected is None else f"~{expected!r}"

    def _check_clock(self, shown: float, skew: float, sent: float | None) -> None:
        if not self._elapsed.saw(shown, sent) and self._correcting is None:
            self._correcting = asyncio.get_running_loop().create_task(self._correct_clock(skew))

    async def _correct_clock(self, skew: float) -> None:
        try:
            expected = self._elapsed.expected()
            with suppress(EngineUnavailable):
                _, shown, corrected = await self.ask("clock", repr(expected), repr(skew))
                if expected is None or abs(float(shown) - expected) > 1:
                    _log.warning(
                        "other processes agree with the store's clock: this one follows", partition=self.number
                    )
                    self._elapsed.trust(float(shown))
                elif abs(float(corrected) - skew) > 1:
                    # Less corrects what the call before took on its way.
                    _log.warning("the store's clock has jumped: sessions go by elapsed time", partition=self.number)
        finally:
            self._correcting = None

    async def _inform(self, wire: Wire) -> None:
        if self._informed != wire.server:
            sequence, offsets = self.known()
            pairs = list(offsets.items())
            for begin in range(0, len(pairs) or 1, _LOGS_AT_ONCE):
                some = pairs[begin : begin + _LOGS_AT_ONCE]
                words = [sequence, len(some), *(word for pair in some for word in pair)]
                arguments = ["", self._process, self.number, "lost", len(words), *words]
                (_, (_, noted)), _ = await self._store.run_on(self._keys, FREEING, arguments)
                if noted:
                    _log.error("the store lost messages that were answered: who did not get them is told", logs=noted)
            self._informed = wire.server

    def _answer(self, portion: list[_Operation], answer: list[Any], wire: Wire) -> list[_Operation]:
        """Give operations their results. Return those that were not executed, as the others were much work."""
        self.trouble = ""
        portion, left = portion[: len(answer) - 1], portion[len(answer) - 1 :]
        self.full = self.full and not any(one.name in NEEDS_ROOM for one in portion)
        self.totals = Totals(*map(int, answer[0][:7]))
        promised: list[tuple[_Operation, list[Any]]] = []
        for one, result in zip(portion, answer[1:], strict=True):
            if self._replicas and one.name in PROMISES:
                promised.append((one, result))
            elif not one.result.done():
                one.result.set_result(result)
        if promised:
            promising = asyncio.get_running_loop().create_task(self._promise(promised, wire))
            self._promising.add(promising)
            promising.add_done_callback(self._promising.discard)
        return left

    async def _promise(self, promised: list[tuple[_Operation, list[Any]]], wire: Wire) -> None:
        """Give operations their results once enough replicas have what they changed."""
        try:
            await self._store.replicated(wire, self._replicated_key, self._replicas)
        except StoreUnavailable as error:
            self.replicated = False
            self._fail([one for one, _ in promised], error)
        else:
            self.replicated = True
            for one, result in promised:
                if not one.result.done():
                    one.result.set_result(result)

    async def look_for_room(self) -> None:
        """Check whether a full server has memory again: nobody may have asked it since."""
        if self.full:
            with suppress(StoreUnavailable):
                await self._run(SCRIPT, [])
                self.full = False

    async def look_for_replicas(self) -> None:
        """Check whether there are enough replicas again, after there were too few."""
        if not self.replicated:
            with suppress(StoreUnavailable):
                _, wire = await self._run(FREEING, [])
                await self._store.replicated(wire, self._replicated_key, self._replicas)
                self.replicated = True

    def _fail(self, some: list[_Operation], error: StoreUnavailable) -> None:
        for one in some:
            if not one.result.done():
                one.result.set_exception(EngineUnavailable(str(error), ambiguous=error.ambiguous))
                # A caller that waits for several results stops at the first failure, and never sees the others.
                one.result.exception()
