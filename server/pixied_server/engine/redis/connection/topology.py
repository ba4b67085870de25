"""Which server has a key: the only one, the master that Sentinels name, or the master of a cluster's slot."""

import asyncio
from binascii import crc_hqx
from collections import deque
from collections.abc import Collection
from contextlib import suppress
from typing import Any, Protocol

from pixied_server.engine.redis.connection.address import Address, Endpoint, Kind
from pixied_server.engine.redis.connection.failures import StoreRefuses, StoreUnavailable
from pixied_server.engine.redis.connection.wire import Command, Refusal, Terms, Wire

__all__ = ["SLOTS", "Topology", "pointed_to", "slot_of", "topology"]

SLOTS = 16_384
# What is known is current for so many seconds.
_FRESH = 1.0


def slot_of(key: bytes) -> int:
    """Return a key's slot in a cluster: by its hash tag, if it has one."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1) if start >= 0 else -1
    return crc_hqx(key[start + 1 : end] if end > start + 1 else key, 0) % SLOTS


def pointed_to(host: bytes | str | None, port: int, asked: Endpoint) -> Endpoint:
    """Return where a server points to. One that does not know its own host leaves it out: then it is the one asked."""
    name = host.decode() if isinstance(host, bytes) else host
    return Endpoint(asked.host if name in {None, "", "?"} else name or "", port)


class Topology(Protocol):
    """The servers of a store, as far as they are known."""

    def endpoint(self, key: bytes) -> Endpoint | None:
        """Return the server that has a key, as far as is known; None: `find` it."""

    async def find(self, key: bytes) -> Endpoint:
        """Ask which server has a key.

        Raises:
            StoreUnavailable: no server knows.
        """

    async def current(self, key: bytes) -> Endpoint:
        """Return the server that has a key, as of at most a second ago.

        Raises:
            StoreUnavailable: no server knows.
        """

    async def masters(self) -> Collection[Endpoint]:
        """Ask for all servers that have keys.

        Raises:
            StoreUnavailable: no server knows.
        """

    def accepts(self, wire: Wire) -> bool:
        """Return whether a server says of itself that it is a master."""

    def doubt(self, endpoint: Endpoint) -> None:
        """Forget a server that can't be reached or is no longer a master: ask before it is used again."""

    def moved(self, slot: int, to: Endpoint) -> None:
        """Note a server's word that a slot is at another."""

    def uncovered(self) -> int:
        """Return how many slots no server has."""

    async def close(self) -> None:
        """Close the connections that were opened to ask."""


class _Single:
    """One server, which has all keys."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def endpoint(self, _key: bytes) -> Endpoint | None:
        return self._endpoint

    async def find(self, _key: bytes) -> Endpoint:
        return self._endpoint

    async def current(self, _key: bytes) -> Endpoint:
        return self._endpoint

    async def masters(self) -> Collection[Endpoint]:
        return (self._endpoint,)

    def accepts(self, _wire: Wire) -> bool:
        return True

    def doubt(self, endpoint: Endpoint) -> None:
        pass

    def moved(self, slot: int, to: Endpoint) -> None:
        pass

    def uncovered(self) -> int:
        return 0

    async def close(self) -> None:
        pass


class _Sentinels:
    """The master of a name. While commands flow, Sentinels are asked each second whether it still is the master.

    A master that is cut off from the Sentinels goes on answering: only they know that it has been replaced.
    """

    def __init__(self, name: str, enquiry: "_Enquiry") -> None:
        self._name = name
        self._enquiry = enquiry
        self._master: Endpoint | None = None
        self._asked = 0.0
        self._asking: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()

    def endpoint(self, _key: bytes) -> Endpoint | None:
        if self._master and self._is_stale() and self._asking is None:
            self._asking = self._loop.create_task(self._ask_meanwhile())
        return self._master

    async def find(self, _key: bytes) -> Endpoint:
        _, answer = await self._enquiry.ask(("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._name))
        if not answer:
            raise StoreUnavailable("the Sentinels know no master of this name")
        host, port = answer
        self._asked = self._loop.time()
        self._master = Endpoint(host.decode(), int(port))
        return self._master

    async def current(self, key: bytes) -> Endpoint:
        return await self.find(key) if self._master is None or self._is_stale() else self._master

    async def masters(self) -> Collection[Endpoint]:
        return (await self.find(b""),)

    def accepts(self, wire: Wire) -> bool:
        return bool(wire.greeting.get(b"role") == b"master")

    def doubt(self, endpoint: Endpoint) -> None:
        if endpoint == self._master:
            self._master = None
            self._enquiry.ask_another()

    def moved(self, slot: int, to: Endpoint) -> None:
        pass

    def uncovered(self) -> int:
        return 0

    async def close(self) -> None:
        if self._asking:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await self._enquiry.close()

    def _is_stale(self) -> bool:
        return self._loop.time() - self._asked > _FRESH

    async def _ask_meanwhile(self) -> None:
        # Without an answer the master stays: Sentinels that are all gone do not replace it.
        with suppress(StoreUnavailable):
            await self.find(b"")
        self._asked = self._loop.time()
        self._asking = None


class _Cluster:
    """The masters of all slots, as one of the cluster's servers sees them."""

    def __init__(self, enquiry: "_Enquiry") -> None:
        self._enquiry = enquiry
        self._slots: list[Endpoint | None] = [None] * SLOTS
        self._asked = float("-inf")
        self._asking = asyncio.Lock()
        self._loop = asyncio.get_running_loop()

    def endpoint(self, key: bytes) -> Endpoint | None:
        return self._slots[slot_of(key)]

    async def find(self, key: bytes) -> Endpoint:
        await self._ask(self._loop.time())
        if endpoint := self.endpoint(key):
            return endpoint
        raise StoreUnavailable(f"no server of the cluster has the slot {slot_of(key)}")

    async def current(self, key: bytes) -> Endpoint:
        await self._ask(self._loop.time() - _FRESH)
        return self.endpoint(key) or await self.find(key)

    async def masters(self) -> Collection[Endpoint]:
        await self._ask(self._loop.time())
        return tuple(dict.fromkeys(endpoint for endpoint in self._slots if endpoint))

    def accepts(self, wire: Wire) -> bool:
        return bool(wire.greeting.get(b"role") == b"master")

    def doubt(self, endpoint: Endpoint) -> None:
        self._slots = [None if one == endpoint else one for one in self._slots]
        self._enquiry.ask_another()

    def moved(self, slot: int, to: Endpoint) -> None:
        self._slots[slot] = to
        # Slots seldom move alone: the next `current` asks again.
        self._asked = float("-inf")

    def uncovered(self) -> int:
        return self._slots.count(None)

    async def close(self) -> None:
        await self._enquiry.close()

    async def _ask(self, since: float) -> None:
        """Ask, unless there is an answer that is not older than this."""
        async with self._asking:
            if self._asked >= since:
                return
            now = self._loop.time()
            asked, ranges = await self._enquiry.ask(("CLUSTER", "SLOTS"))
            slots: list[Endpoint | None] = [None] * SLOTS
            for first, last, (host, port, *_), *_replicas in ranges:
                slots[first : last + 1] = [pointed_to(host, port, asked)] * (last + 1 - first)
            self._slots = slots
            self._asked = now
            self._enquiry.learn(dict.fromkeys(endpoint for endpoint in slots if endpoint))


class _Enquiry:
    """Questions to several servers, one after the other until one answers.

    Args:
        endpoints: the servers to ask first; they are never forgotten.
        terms: how to connect to them.
    """

    def __init__(self, endpoints: Collection[Endpoint], terms: Terms) -> None:
        self._always = tuple(endpoints)
        self._endpoints = deque(endpoints)
        self._terms = terms
        self._wire: Wire | None = None
        self._asking = asyncio.Lock()

    async def ask(self, command: Command) -> tuple[Endpoint, Any]:
        """Return the server that answered, and its answer.

        Raises:
            StoreUnavailable: none answers.
        """
        failures = []
        async with self._asking:
            for _ in range(len(self._endpoints)):
                try:
                    return await self._ask_first(command)
                except StoreUnavailable as failure:
                    failures.append(failure)
                    self.ask_another()
        kind = StoreRefuses if all(isinstance(one, StoreRefuses) for one in failures) else StoreUnavailable
        raise kind("; ".join(map(str, failures[:3])))

    def ask_another(self) -> None:
        """Ask the first server last: its answer was wrong, or there was none."""
        self._endpoints.rotate(-1)
        if self._wire:
            self._wire.abort()

    def learn(self, endpoints: Collection[Endpoint]) -> None:
        """Prefer these servers to those that were known before."""
        first = [one for one in endpoints if one == self._endpoints[0]]
        self._endpoints = deque(dict.fromkeys((*first, *endpoints, *self._always)))

    async def close(self) -> None:
        """Close the connection."""
        if self._wire:
            await self._wire.close()

    async def _ask_first(self, command: Command) -> tuple[Endpoint, Any]:
        endpoint = self._endpoints[0]
        if self._wire is None or not self._wire.alive or self._wire.endpoint != endpoint:
            if self._wire:
                self._wire.abort()
            self._wire = await Wire.open(endpoint, self._terms)
        reply = await self._wire.request(command, asyncio.get_running_loop().time() + self._terms.timeout)
        if isinstance(reply, Refusal):
            kind = StoreRefuses if reply.code in {"NOPERM", "ERR"} else StoreUnavailable
            raise kind(f"{endpoint} answers {reply.text}")
        if isinstance(reply, StoreUnavailable):
            raise StoreUnavailable(str(reply))
        return endpoint, reply


def topology(address: Address, asking: Terms) -> Topology:
    """Return the topology of an address.

    Args:
        address: the store's.
        asking: how to connect to servers that are only asked where a key is.
    """
    match address.kind:
        case Kind.SINGLE | Kind.UNIX:
            return _Single(address.endpoints[0])
        case Kind.SENTINEL:
            return _Sentinels(address.master_name, _Enquiry(address.endpoints, asking))
        case Kind.CLUSTER:
            return _Cluster(_Enquiry(address.endpoints, asking))
