"""The calls of one partition: operations are gathered while a call is under way, and go out with the next."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from pixied_server.engine.redis.connection.failures import StoreFull, StoreUnavailable
from pixied_server.engine.redis.connection.store import Script, Store
from pixied_server.engine.redis.connection.wire import Wire
from pixied_server.engine.redis.partition.clock import ElapsedClock
from pixied_server.engine.redis.partition.script import DISPLACES, FREEING, NEEDS_ROOM, PROMISES, SCRIPT, WEIGHTS
from pixied_server.errors import EngineUnavailable

__all__ = ["Argument", "Calls", "Known", "MakeRoom", "Totals"]

_log = structlog.get_logger(__name__)

Argument = bytes | int | str

# So many logs are named in one call to a server that took the place of another.
_LOGS_AT_ONCE = 1_000
# One call does not stop the others of the server for long: about 1 ms, or as much as a megabyte takes.
_WEIGHT = 200
_BYTES = 1_000_000

MakeRoom = Callable[[int, float], Awaitable[bool]]
"""Makes room on a partition's server, if nobody has since a time of the loop. Returns whether there is some."""

Known = Callable[[], tuple[int, Mapping[str, int]]]
"""Up to which sequence messages were announced or answered, as far as this process knows, and up to which offset in
each
log."""


@dataclass(slots=True)
class Totals:
    """What a partition held when it last answered."""

    bytes: int = 0
    messages: int = 0
    subscriptions: int = 0
    clients: int = 0
    patterns: int = 0
    namespaces: int = 0
    keys: int = 0


class _Operation:
    """An operation that waits for its result."""

    __slots__ = ("arguments", "name", "result", "size", "weight")

    def __init__(self, name: str, arguments: Sequence[Argument], result: "asyncio.Future[list[Any]]") -> None:
        self.name = name
        self.arguments = arguments
        self.result = result
        # A loop, for this is done for each operation: a generator takes twice as long.
        size = 0
        for one in arguments:
            if not isinstance(one, int):
                size += len(one)
        self.size = size
        self.weight = WEIGHTS.get(name, 1)


class Calls:
    """See the module. Operations are carried out in the order in which they were asked for.

    Args:
        store: the store.
        base: what the names of the partition's keys begin with.
        number: the partition's.
        process: names this process.
        clock: tells the time in seconds since the epoch; None for the store's own, corrected.
        replicas: what changes something is only answered when so many replicas of its server have it.

    Attributes:
        totals: what the partition held when it last answered.
        trouble: why it did not do what it was last asked; "" if it did.
        full: whether its server had no memory left when it was last asked to store something.
        replicated: whether enough replicas had what they were last to have.
        known: what this process knows of messages. Set before anything else is called.
        make_room: takes old messages away for new ones. Set like that.
    """

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
        self.totals = Totals()
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
        """A key of the partition, to find the server that has it."""
        return self._keys[0]

    @property
    def busy(self) -> bool:
        """Whether an answer is waited for."""
        return self._calling is not None or bool(self._promising)

    def ask(self, name: str, *arguments: Argument) -> "asyncio.Future[list[Any]]":
        """Ask for an operation of the script.

        Returns:
            Its result, which begins with 1, or with 0 and a code.

        Raises:
            EngineUnavailable: the store does not answer. It may have been done all the same.
        """
        result: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Operation(name, arguments, result))
        if self._calling is None:
            self._calling = asyncio.get_running_loop().create_task(self._call())
        return result

    async def ask_at_once(self, name: str, *arguments: Argument) -> list[Any]:
        """Ask for an operation that needs no room, before all that waits.

        Raises:
            EngineUnavailable: as with `ask`.
        """
        operation = _Operation(name, arguments, asyncio.get_running_loop().create_future())
        try:
            answer, wire = await self._run(FREEING, [operation])
        except StoreUnavailable as error:
            raise EngineUnavailable(str(error), ambiguous=error.ambiguous) from None
        self._answer([operation], answer, wire)
        return await operation.result

    async def server(self) -> str:
        """Return the name of the server that has the partition.

        Raises:
            EngineUnavailable: that can't be found out.
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
            self._answer(portion, answer, wire)
        except StoreFull as error:
            await self._free(portion, error)
        except StoreUnavailable as error:
            self.trouble = str(error)
            # Whoever waited behind them would only wait as long again.
            self._fail([*portion, *self._waiting], error)
            self._waiting.clear()
        except Exception as error:  # noqa: BLE001 - for those who wait
            for one in portion:
                if not one.result.done():
                    one.result.set_exception(error)

    async def _run_with_room(self, portion: list[_Operation]) -> tuple[list[Any], Wire]:
        """Carry out operations; where there is no memory left for new messages, old ones make room for them, once."""
        began = asyncio.get_running_loop().time()
        try:
            return await self._run(SCRIPT, portion)
        except StoreFull:
            if not any(one.name in DISPLACES for one in portion) or not await self.make_room(self.number, began):
                raise
        return await self._run(SCRIPT, portion)

    async def _free(self, portion: list[_Operation], error: StoreFull) -> None:
        """The store is full: what needs no room is done, so that there is some again."""
        refused = [one for one in portion if one.name in NEEDS_ROOM]
        freeing = [one for one in portion if one.name not in NEEDS_ROOM]
        if refused:
            self.full = True
            self._fail(refused, error)
        if not freeing:
            return
        try:
            answer, wire = await self._run(FREEING, freeing)
            self._answer(freeing, answer, wire)
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
            # It is another server than before, and first learns what was announced and answered by the one before it.
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
                _, shown = await self.ask("clock", repr(expected), repr(skew))
                if expected is None or abs(float(shown) - expected) > 1:
                    _log.warning(
                        "other processes agree with the store's clock: this one follows", partition=self.number
                    )
                    self._elapsed.trust(float(shown))
                else:
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

    def _answer(self, portion: list[_Operation], answer: list[Any], wire: Wire) -> None:
        self.trouble = ""
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

    async def _promise(self, promised: list[tuple[_Operation, list[Any]]], wire: Wire) -> None:
        """Answer what was done as soon as enough replicas have it."""
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
        """See whether there is memory again, after there was none: nobody may have asked for anything since."""
        if self.full:
            with suppress(StoreUnavailable):
                await self._run(SCRIPT, [])
                self.full = False

    async def look_for_replicas(self) -> None:
        """See whether enough replicas are there again, after too few were."""
        if not self.replicated:
            with suppress(StoreUnavailable):
                _, wire = await self._run(FREEING, [])
                await self._store.replicated(wire, self._replicated_key, self._replicas)
                self.replicated = True

    def _fail(self, some: list[_Operation], error: StoreUnavailable) -> None:
        for one in some:
            if not one.result.done():
                one.result.set_exception(EngineUnavailable(str(error), ambiguous=error.ambiguous))
                # Who asked for several things gives up at the first of them that fails.
                one.result.exception()
