"""The store as the engine sees it: scripts run where their keys are, and live mail comes in feeds.

Whatever Redis answers about itself (a script that it has forgotten, a slot that moves, a failover) ends here: what was
not done is tried again for as long as the store's timeout lasts; what may have been done never is.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha1
from typing import Any

from pixied_server.engine.redis.address import Address, Endpoint, Kind
from pixied_server.engine.redis.answers import meaning, was_not_done
from pixied_server.engine.redis.failures import ScriptError, StoreFault, StoreFull, StoreRefuses, StoreUnavailable
from pixied_server.engine.redis.feed import Feed
from pixied_server.engine.redis.inspection import Finding, Severity, facts, inspected
from pixied_server.engine.redis.topology import pointed_to, topology
from pixied_server.engine.redis.wire import Command, Refusal, Terms, Wire

__all__ = [
    "Feed",
    "Finding",
    "Script",
    "ScriptError",
    "Severity",
    "Store",
    "StoreFault",
    "StoreFull",
    "StoreRefuses",
    "StoreUnavailable",
]

_FIRST_PAUSE = 0.01
_LONGEST_PAUSE = 0.2


class Script:
    """A Lua script.

    It should begin with `#!lua`: then a server that is full, read-only or can't write its files refuses it before it
    has done anything.
    """

    __slots__ = ("sha1", "source")

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        self.sha1 = sha1(self.source).hexdigest().encode()  # noqa: S324 - Redis names scripts so


class Store:
    """A Redis installation.

    Commands share one connection per server, and are written in the order of their calls. A call that had to be tried
    again comes after those that were written meanwhile; who needs an order across failures has one call under way.

    Args:
        address: where it is.
        timeout: seconds that a call takes at most, trying again included.

    Raises:
        AddressInvalid: if the address names TLS files that can't be used.
    """

    def __init__(self, address: Address, *, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        tls = address.tls.context() if address.tls else None
        self._terms = Terms(timeout, credentials=address.credentials, db=address.db, tls=tls)
        self._topology = topology(address, self._asking_terms())
        self._nodes: dict[Endpoint, _Node] = {}

    async def open(self) -> None:
        """Connect to all servers that have keys.

        Raises:
            StoreUnavailable: if one is not reached within the timeout.
        """
        attempts = _Attempts(self._timeout)
        while True:
            try:
                async with attempts.limit(self.address):
                    for endpoint in await self._topology.masters():
                        await self._node(endpoint).connect()
                    return
            except StoreUnavailable as failure:
                await attempts.pause(failure)

    async def close(self) -> None:
        """Close all connections but those of feeds."""
        nodes, self._nodes = self._nodes, {}
        for node in nodes.values():
            await node.close()
        await self._topology.close()

    async def run(self, keys: Sequence[bytes], script: Script, args: Sequence[bytes | int | str]) -> Any:
        """Run a script on the server that has its keys.

        Args:
            keys: at least one; all in one slot.
            script: what to run.
            args: its further arguments.

        Returns:
            Its reply: bytes, ints, lists of such, or None.

        Raises:
            ScriptError: if the script itself refused.
            StoreFull: if the store has no memory for it.
            StoreUnavailable: if the store did not do it in time, or may have done it (`ambiguous`).
            StoreFault: if the store's answer makes no sense.
        """
        words = (len(keys), *keys, *args)
        attempts = _Attempts(self._timeout)
        command: Command = (b"EVALSHA", script.sha1, *words)
        while True:
            reply = await self._request(keys[0], command, attempts)
            if not isinstance(reply, Refusal):
                return reply
            if reply.code != "NOSCRIPT":
                raise meaning(reply)
            # Unlike SCRIPT LOAD, this is one round trip, and nothing can be forgotten in between.
            command = (b"EVAL", script.source, *words)

    async def feed(self, key: bytes) -> Feed:
        """Open a connection to the server that has a key, for the messages of channels.

        Raises:
            StoreUnavailable: if it is not reached within the timeout.
        """
        attempts = _Attempts(self._timeout)
        while True:
            try:
                async with attempts.limit(self.address):
                    # A slot that has moved would be told to a command, but not to a connection that only listens.
                    return Feed(await self._open(await self._topology.find(key)))
            except StoreUnavailable as failure:
                await attempts.pause(failure)

    async def replicated(self, key: bytes, replicas: int) -> None:
        """Wait until what this server answered before is on so many of its replicas.

        Args:
            key: says which server; it is written to, as only a write's place can be waited for.
            replicas: how many.

        Raises:
            StoreUnavailable: if it is not within the timeout; what was done is done all the same (`ambiguous`).
        """
        attempts = _Attempts(self._timeout)
        endpoint = await self._locate(key, attempts)
        async with attempts.limit(endpoint):
            wire = await self._node(endpoint).second.connect()
        # It holds up all that follows it on its connection: so it has one where nothing else is.
        written = wire.request((b"SET", key, b""), attempts.deadline)
        waited = wire.request((b"WAIT", replicas, round(attempts.left * 900)), attempts.deadline)
        for reply in (await written, await waited):
            if isinstance(reply, Refusal):
                raise meaning(reply)
            if isinstance(reply, StoreUnavailable):
                raise reply
        if (reached := waited.result()) < replicas:
            why = f"{endpoint} has it on {reached} of its replicas in time, not on {replicas}"
            raise StoreUnavailable(why, ambiguous=True)

    async def node_of(self, key: bytes) -> str:
        """The name of the server that has a key, by what is known for at most a second.

        Raises:
            StoreUnavailable: if that can't be found out within the timeout.
        """
        attempts = _Attempts(self._timeout)
        while True:
            try:
                async with attempts.limit(self.address):
                    return str(await self._topology.current(key))
            except StoreUnavailable as failure:
                await attempts.pause(failure)

    async def run_id(self, key: bytes) -> str:
        """The id that the server of a key has drawn when it was started.

        Raises:
            StoreUnavailable: if it does not say so within the timeout.
        """
        info = facts(await self._ask(key, (b"INFO", b"server")))
        return info["run_id"]

    async def info(self) -> Mapping[str, Mapping[str, str]]:
        """INFO of each server that has keys, by the server's name.

        Raises:
            StoreUnavailable: if one does not answer within the timeout.
        """
        attempts = _Attempts(self._timeout)
        async with attempts.limit(self.address):
            endpoints = await self._topology.masters()
            return {str(endpoint): facts(await self._say(endpoint, (b"INFO",), attempts)) for endpoint in endpoints}

    async def inspect(self, key: bytes = b"{pixied}:meta") -> list[Finding]:
        """Look for what is wrong or risky about the servers that have keys.

        Args:
            key: one of ours: whether scripts may use it is looked at too.

        Raises:
            StoreUnavailable: if one does not answer within the timeout.
        """
        attempts = _Attempts(self._timeout)
        cluster = self.address.kind is Kind.CLUSTER
        found: list[Finding] = []
        async with attempts.limit(self.address):
            own = await self._topology.find(key)
            for endpoint in await self._topology.masters():
                wire = await self._node(endpoint).connect()
                ask = self._asking(wire, attempts)
                found += await inspected(str(endpoint), ask, key, has_key=endpoint == own, cluster=cluster)
            if (uncovered := self._topology.uncovered()) and cluster:
                found.append(Finding(Severity.ERROR, f"no server of the cluster has {uncovered:,} of its 16,384 slots"))
        return found

    def _asking(self, wire: Wire, attempts: "_Attempts") -> Callable[[Command], Awaitable[Any]]:
        async def ask(command: Command) -> Any:
            reply = await wire.request(command, attempts.deadline)
            if isinstance(reply, StoreUnavailable):
                raise reply
            return reply

        return ask

    async def _ask(self, key: bytes, command: Command) -> Any:
        reply = await self._request(key, command, _Attempts(self._timeout))
        if isinstance(reply, Refusal):
            raise meaning(reply)
        return reply

    async def _say(self, endpoint: Endpoint, command: Command, attempts: "_Attempts") -> Any:
        wire = await self._node(endpoint).connect()
        reply = await wire.request(command, attempts.deadline)
        if isinstance(reply, Refusal):
            raise meaning(reply)
        if isinstance(reply, StoreUnavailable):
            raise reply
        return reply

    async def _request(self, key: bytes, command: Command, attempts: "_Attempts") -> Any:
        """Send a command until it is answered with something that only its author understands."""
        while True:
            wire = self._ready(key) or await self._reach(key, attempts)
            reply = await wire.request(command, attempts.deadline)
            if isinstance(reply, StoreUnavailable):
                if reply.ambiguous:
                    raise reply
                await attempts.pause(reply)
            elif isinstance(reply, Refusal) and self._passes(reply, wire):
                await attempts.pause(StoreUnavailable(f"{wire.endpoint} answers {reply.text}"))
            else:
                return reply

    def _passes(self, refusal: Refusal, wire: Wire) -> bool:
        """Whether this is the answer of a server that did nothing now, and it or another one may a moment later."""
        if not was_not_done(refusal):
            return False
        if refusal.code == "MOVED":
            _, slot, where = refusal.text.split(" ")
            host, _, port = where.rpartition(":")
            self._topology.moved(int(slot), pointed_to(host, int(port), wire.endpoint))
        elif refusal.code == "READONLY":
            # It was a master and is one no longer.
            self._topology.doubt(wire.endpoint)
            wire.abort(f"{wire.endpoint} is a replica now")
        return True

    def _asking_terms(self) -> Terms:
        """How those are reached that are only asked: of several that are silent, some must fit into a call's time."""
        who = self.address.sentinel_credentials if self.address.kind is Kind.SENTINEL else self.address.credentials
        return replace(self._terms, patience=min(1.0, self._timeout / 4), credentials=who, db=0)

    def _ready(self, key: bytes) -> Wire | None:
        endpoint = self._topology.endpoint(key)
        node = self._nodes.get(endpoint) if endpoint else None
        return node.wire if node else None

    async def _reach(self, key: bytes, attempts: "_Attempts") -> Wire:
        while True:
            endpoint = await self._locate(key, attempts)
            try:
                async with attempts.limit(endpoint):
                    return await self._node(endpoint).connect()
            except StoreUnavailable as failure:
                self._topology.doubt(endpoint)
                await attempts.pause(failure)

    async def _locate(self, key: bytes, attempts: "_Attempts") -> Endpoint:
        while True:
            if endpoint := self._topology.endpoint(key):
                return endpoint
            try:
                async with attempts.limit(self.address):
                    return await self._topology.find(key)
            except StoreUnavailable as failure:
                await attempts.pause(failure)

    def _node(self, endpoint: Endpoint) -> "_Node":
        node = self._nodes.get(endpoint)
        if node is None:
            node = self._nodes[endpoint] = _Node(lambda: self._open(endpoint))
        return node

    async def _open(self, endpoint: Endpoint) -> Wire:
        wire = await Wire.open(endpoint, self._terms)
        if not self._topology.accepts(wire):
            self._topology.doubt(endpoint)
            wire.abort()
            raise StoreUnavailable(f"{endpoint} is no master")
        return wire


class _Node:
    """A server, and the connection to it that all commands share."""

    def __init__(self, open_wire: Callable[[], Awaitable[Wire]]) -> None:
        self._open = open_wire
        self._wire: Wire | None = None
        self._connecting = asyncio.Lock()
        self._failure: tuple[float, StoreUnavailable] | None = None
        self._second: _Node | None = None

    @property
    def wire(self) -> Wire | None:
        """The connection, if there is one."""
        return self._wire if self._wire and self._wire.alive else None

    async def connect(self) -> Wire:
        """Give the connection; make it, if nobody else does already.

        Raises:
            StoreUnavailable: if the server can't be reached, or could not a moment ago.
        """
        async with self._connecting:
            if wire := self.wire:
                return wire
            self._hold_back()
            try:
                self._wire = await self._open()
            except StoreUnavailable as failure:
                self._failure = (asyncio.get_running_loop().time(), failure)
                raise
            return self._wire

    @property
    def second(self) -> "_Node":
        """Another connection to the same server, for what would hold this one up."""
        if self._second is None:
            self._second = _Node(self._open)
        return self._second

    async def close(self) -> None:
        """Close the connections."""
        if self._second:
            await self._second.close()
        if self._wire:
            await self._wire.close()

    def _hold_back(self) -> None:
        """However many wait for a server that is down, it is tried once per pause."""
        if self._failure and asyncio.get_running_loop().time() - self._failure[0] < _FIRST_PAUSE:
            raise type(self._failure[1])(str(self._failure[1]))


class _Attempts:
    """How long one call goes on trying."""

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout
        self._loop = asyncio.get_running_loop()
        self._pause = _FIRST_PAUSE
        self._failure: StoreUnavailable | None = None
        self.deadline = self._loop.time() + timeout

    @property
    def left(self) -> float:
        """Seconds that there still are."""
        return max(0.0, self.deadline - self._loop.time())

    async def pause(self, failure: StoreUnavailable) -> None:
        """Wait a moment, each time longer.

        Raises:
            StoreUnavailable: if trying again can't help, or the time is up.
        """
        if isinstance(failure, StoreRefuses):
            raise failure
        self._failure = failure
        if not self.left:
            raise StoreUnavailable(f"{failure} (tried for {self._timeout:g} s)")
        await asyncio.sleep(min(self._pause, self.left))
        self._pause = min(2 * self._pause, _LONGEST_PAUSE)

    @asynccontextmanager
    async def limit(self, where: object) -> AsyncIterator[None]:
        """A context that takes no longer than there is time.

        Raises:
            StoreUnavailable: in place of a TimeoutError.
        """
        try:
            async with asyncio.timeout_at(self.deadline):
                yield
        except TimeoutError:
            raise self._failure or StoreUnavailable(f"{where} does not answer") from None
