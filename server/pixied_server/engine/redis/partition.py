"""A partition as a process uses it: operations are gathered while a call is under way, and go out with the next."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from pixied_server.engine.redis.failures import StoreFull, StoreUnavailable
from pixied_server.engine.redis.store import Script, Store
from pixied_server.engine.redis.wire import Wire
from pixied_server.errors import EngineUnavailable

__all__ = ["Argument", "Holds", "Partition"]

_log = structlog.get_logger(__name__)

Argument = bytes | int | str

_SOURCE = Path(__file__).with_name("partition.lua").read_text()

_SCRIPT = Script("#!lua\n" + _SOURCE, tells_server=True)
# For operations that free memory, when there is none left.
_FREEING = Script("#!lua flags=allow-oom\n" + _SOURCE, tells_server=True)
_FREES = frozenset(
    {
        "alive",
        "beat",
        "bereave",
        "buried",
        "confirm",
        "declare",
        "destroy",
        "expire",
        "forget_keys",
        "free",
        "free_key",
        "hello",
        "joined",
        "lease",
        "leave",
        "part",
        "pending",
        "ping",
        "process_of",
        "progress_of",
        "read",
        "release",
        "resume",
        "settle",
        "shrink",
        "subscribes",
        "sweep",
        "sync",
        "unsubscribe",
    }
)
# What is only answered when enough replicas have it, where that is asked for. What is not here can be done again, or
# costs no more than mail that comes twice.
_PROMISES = frozenset(
    {
        "create",
        "declare",
        "destroy",
        "free",
        "join",
        "part",
        "ping",
        "publish",
        "queue",
        "reserve",
        "reserve_key",
        "subscribe",
        "unsubscribe",
    }
)
# So many logs are told to a server that took the place of another in one call.
_TOLD_AT_ONCE = 1_000
# One call does not stop the others of the server for long: about 1 ms, or as much as a megabyte takes.
_OPERATIONS = 200
_BYTES = 1_000_000


@dataclass(slots=True)
class Holds:
    """What a partition held when it last answered."""

    bytes: int = 0
    messages: int = 0
    subscriptions: int = 0
    clients: int = 0
    patterns: int = 0
    namespaces: int = 0
    keys: int = 0


class _Asked:
    """An operation that waits for its result."""

    __slots__ = ("arguments", "name", "result", "size")

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


class Partition:
    """One partition. Its operations are carried out in the order in which they were asked for.

    Args:
        store: the store.
        base: what the names of its keys begin with.
        number: its own.
        process: names this process.
        clock: tells the time in seconds since the epoch; None for the store's own.
        replicas: what changes something is only answered when so many replicas of its server have it.

    Attributes:
        holds: what it held when it last answered.
        answers: whether it did when it was last asked.
        replicated: whether enough replicas had what they were last to have.
        known: tells up to which place mail was told or answered, as far as this process knows, and up to which offset
            in each log. Set before anything else is called.
    """

    known: Callable[[], tuple[int, Mapping[str, int]]]

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
        self.holds = Holds()
        self.answers = True
        self.replicated = True
        self._store = store
        self._process = process
        self._clock = clock
        self._replicas = replicas
        self._mark = f"{base}replicated".encode()
        self._told = ""
        self._promising: set[asyncio.Task[None]] = set()
        self._keys = (f"{base}meta".encode(), f"{base}absent".encode())
        self._asked: deque[_Asked] = deque()
        self._calling: asyncio.Task[None] | None = None

    @property
    def key(self) -> bytes:
        """A key of it, to find the server that has it."""
        return self._keys[0]

    @property
    def busy(self) -> bool:
        """Whether an answer is waited for."""
        return self._calling is not None or bool(self._promising)

    def do(self, name: str, *arguments: Argument) -> "asyncio.Future[list[Any]]":
        """Do an operation of `partition.lua`.

        Returns:
            Its result, which begins with 1, or with 0 and a code.

        Raises:
            EngineUnavailable: the store does not answer. It may have been done all the same.
        """
        result: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(name, arguments, result))
        if self._calling is None:
            self._calling = asyncio.get_running_loop().create_task(self._call())
        return result

    async def _call(self) -> None:
        try:
            while self._asked:
                await self._call_once(self._portion())
        finally:
            self._calling = None

    def _portion(self) -> list[_Asked]:
        portion: list[_Asked] = []
        size = 0
        while self._asked and len(portion) < _OPERATIONS and size < _BYTES:
            one = self._asked.popleft()
            if not one.result.cancelled():
                portion.append(one)
                size += one.size
        return portion

    async def _call_once(self, portion: list[_Asked]) -> None:
        if not portion:
            return
        try:
            answer, wire = await self._run(_SCRIPT, portion)
            self._answer(portion, answer, wire)
        except StoreFull as error:
            await self._free(portion, error)
        except StoreUnavailable as error:
            self.answers = False
            # Whoever waited behind them would only wait as long again.
            self._fail([*portion, *self._asked], error)
            self._asked.clear()
        except Exception as error:  # noqa: BLE001 - told to those who wait
            for one in portion:
                if not one.result.done():
                    one.result.set_exception(error)

    async def _free(self, portion: list[_Asked], error: StoreFull) -> None:
        """The store is full: what needs no room is done, so that there is some again."""
        freeing = [one for one in portion if one.name in _FREES]
        self._fail([one for one in portion if one.name not in _FREES], error)
        if not freeing:
            return
        try:
            answer, wire = await self._run(_FREEING, freeing)
            self._answer(freeing, answer, wire)
        except StoreUnavailable as again:
            self._fail(freeing, again)

    async def _run(self, script: Script, portion: list[_Asked]) -> tuple[list[Any], Wire]:
        now = "" if self._clock is None else repr(self._clock())
        arguments: list[Argument] = [now, self._process, self.number]
        for one in portion:
            arguments += (one.name, len(one.arguments), *one.arguments)
        while True:
            answer, wire = await self._store.run_on(self._keys, script, arguments)
            if isinstance(answer[0], list):
                return answer, wire
            # It is another server than before, and hears first what was told and answered by the one before it.
            await self._tell_known(wire)
            await asyncio.sleep(answer[0] / 1_000_000)

    async def _tell_known(self, wire: Wire) -> None:
        if self._told != wire.server:
            place, offsets = self.known()
            pairs = list(offsets.items())
            for begin in range(0, len(pairs) or 1, _TOLD_AT_ONCE):
                some = pairs[begin : begin + _TOLD_AT_ONCE]
                words = [place, len(some), *(word for pair in some for word in pair)]
                arguments = ["", self._process, self.number, "lost", len(words), *words]
                (_, (_, noted)), _ = await self._store.run_on(self._keys, _FREEING, arguments)
                if noted:
                    _log.error("the store lost mail that was answered: who did not get it is told", logs=noted)
            self._told = wire.server

    def _answer(self, portion: list[_Asked], answer: list[Any], wire: Wire) -> None:
        self.answers = True
        self.holds = Holds(*map(int, answer[0]))
        promised: list[tuple[_Asked, list[Any]]] = []
        for one, result in zip(portion, answer[1:], strict=True):
            if self._replicas and one.name in _PROMISES:
                promised.append((one, result))
            elif not one.result.done():
                one.result.set_result(result)
        if promised:
            promising = asyncio.get_running_loop().create_task(self._promise(promised, wire))
            self._promising.add(promising)
            promising.add_done_callback(self._promising.discard)

    async def _promise(self, promised: list[tuple[_Asked, list[Any]]], wire: Wire) -> None:
        """Answer what was done as soon as enough replicas have it."""
        try:
            await self._store.replicated(wire, self._mark, self._replicas)
        except StoreUnavailable as error:
            self.replicated = False
            self._fail([one for one, _ in promised], error)
        else:
            self.replicated = True
            for one, result in promised:
                if not one.result.done():
                    one.result.set_result(result)

    async def look_for_replicas(self) -> None:
        """See whether enough replicas are there again, after too few were."""
        if not self.replicated:
            with suppress(StoreUnavailable):
                _, wire = await self._run(_SCRIPT, [])
                await self._store.replicated(wire, self._mark, self._replicas)
                self.replicated = True

    def _fail(self, some: list[_Asked], error: StoreUnavailable) -> None:
        for one in some:
            if not one.result.done():
                one.result.set_exception(EngineUnavailable(str(error)))
