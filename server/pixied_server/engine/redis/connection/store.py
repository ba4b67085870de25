"""The store as the engine sees it: scripts run where their keys are, and live messages come by pub/sub.

Redis's answers about itself (an unknown script, a slot that moves, a failover) end here: a command that was not
executed is tried again within the store's timeout; one that may have been executed never is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha1
from typing import Any

from pixied_server.engine.redis.connection.address import Address, Endpoint, Kind
from pixied_server.engine.redis.connection.answers import meaning, was_not_done
from pixied_server.engine.redis.connection.attempts import Attempts
from pixied_server.engine.redis.connection.failures import (
    ScriptError,
    StoreFault,
    StoreFull,
    StoreRefuses,
    StoreUnavailable,
)
from pixied_server.engine.redis.connection.inspection import Finding, Severity, facts, inspected
from pixied_server.engine.redis.connection.node import Node
from pixied_server.engine.redis.connection.pubsub import PubSub
from pixied_server.engine.redis.connection.topology import pointed_to, topology
from pixied_server.engine.redis.connection.wire import Command, Refusal, Terms, Wire

__all__ = [
    "Finding",
    "PubSub",
    "Script",
    "ScriptError",
    "Severity",
    "Store",
    "StoreFault",
    "StoreFull",
    "StoreRefuses",
    "StoreUnavailable",
]


class Script:
    """A Lua script.

    It should begin with `#!lua`: then a server that is full, read-only or can't write its files refuses it before it
    has done anything.

    Args:
        source: the script.
        tells_server: its first argument, before those of its caller, is the server's run id.
    """

    __slots__ = ("sha1", "source", "tells_server")

    def __init__(self, source: str, *, tells_server: bool = False) -> None:
        self.tells_server = tells_server
        self.source = source.encode()
        self.sha1 = sha1(self.source).hexdigest().encode()  # noqa: S324 - Redis names scripts so


class Store:
    """A Redis installation.

    Commands share one connection per server, and are written in the order of their calls. A call that is tried again
    comes after calls that were written meanwhile; a caller that needs an order across failures waits for each call.

    Args:
        address: the store's.
        timeout: seconds that a call takes at most, further attempts included.

    Raises:
        AddressInvalid: the address names TLS files that can't be used.
    """

    def __init__(self, address: Address, *, timeout: float) -> None:
        self.address = address
        self._timeout = timeout
        tls = address.tls.context() if address.tls else None
        self._terms = Terms(timeout, credentials=address.credentials, db=address.db, tls=tls)
        self._topology = topology(address, self._asking_terms())
        self._nodes: dict[Endpoint, Node] = {}

    async def open(self) -> None:
        """Connect to all servers that have keys.

        Raises:
            StoreUnavailable: a server was not reached within the timeout.
        """
        attempts = Attempts(self._timeout)
        while True:
            try:
                async with attempts.limit(self.address):
                    for endpoint in await self._topology.masters():
                        await self._node(endpoint).connect()
                    return
            except StoreUnavailable as failure:
                await attempts.pause(failure)

    async def close(self) -> None:
        """Close all connections but those for pub/sub."""
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
            ScriptError: the script itself refused.
            StoreFull: the store has no memory for it.
            StoreUnavailable: the store did not run it in time, or may have run it (`ambiguous`).
            StoreFault: the store's answer makes no sense.
        """
        reply, _ = await self.run_on(keys, script, args)
        return reply

    async def run_on(
        self, keys: Sequence[bytes], script: Script, args: Sequence[bytes | int | str]
    ) -> tuple[Any, Wire]:
        """Do as `run`. Return the reply, and its connection."""
        attempts = Attempts(self._timeout)
        name: Command = (b"EVALSHA", script.sha1)

        def command(wire: Wire) -> Command:
            told = (wire.server,) if script.tells_server else ()
            return (*name, len(keys), *keys, *told, *args)

        while True:
            reply, wire = await self._request(keys[0], command, attempts)
            if not isinstance(reply, Refusal):
                return reply, wire
            if reply.code != "NOSCRIPT":
                raise meaning(reply)
            # Unlike SCRIPT LOAD and EVALSHA this is one round trip, and no SCRIPT FLUSH can come in between.
            name = (b"EVAL", script.source)

    async def pubsub(self, key: bytes) -> PubSub:
        """Open a pub/sub connection to the server that has a key.

        Raises:
            StoreUnavailable: the server was not reached within the timeout.
        """
        attempts = Attempts(self._timeout)
        while True:
            try:
                async with attempts.limit(self.address):
                    # A command is answered MOVED where a slot has moved; a connection that only listens is not.
                    return PubSub(await self._open(await self._topology.find(key)))
            except StoreUnavailable as failure:
                await attempts.pause(failure)

    async def replicated(self, wire: Wire, key: bytes, replicas: int) -> None:
        """Wait until so many of a server's replicas have what it has answered before.

        Args:
            wire: the connection of the answer; see `run_on`.
            key: a key of the server; it is written to, because WAIT needs a write to wait for.
            replicas: how many.

        Raises:
            StoreUnavailable: the timeout came first; what was done stays done (`ambiguous`).
        """
        await self._node(wire.endpoint).replicated(key, replicas, self._timeout)
        if not wire.alive:
            # A server that restarted meanwhile may have lost it, and then its replicas lose it too.
            raise StoreUnavailable(f"{wire.endpoint} was left before its replicas had it", ambiguous=True)

    async def node_of(self, key: bytes) -> str:
        """Return the name of the server that has a key, as of at most a second ago.

        Raises:
            StoreUnavailable: the server could not be found within the timeout.
        """
        attempts = Attempts(self._timeout)
        while True:
            try:
                async with attempts.limit(self.address):
                    return str(await self._topology.current(key))
            except StoreUnavailable as failure:
                await attempts.pause(failure)

    def known_node_of(self, key: bytes) -> str | None:
        """Return the name of the server that has a key, as far as is known."""
        endpoint = self._topology.endpoint(key)
        return None if endpoint is None else str(endpoint)

    async def info(self) -> Mapping[str, Mapping[str, str]]:
        """Return INFO of each server that has keys, by the server's name.

        Raises:
            StoreUnavailable: a server does not answer within the timeout.
        """
        attempts = Attempts(self._timeout)
        async with attempts.limit(self.address):
            endpoints = await self._topology.masters()
            return {str(endpoint): facts(await self._say(endpoint, (b"INFO",), attempts)) for endpoint in endpoints}

    async def inspect(self, key: bytes, *, replicas: int = 0, total_bytes: int = 0) -> list[Finding]:
        """Look for what is wrong or risky about the servers that have keys.

        Args:
            key: one of ours: it has to be allowed to scripts.
            replicas: how many replicas each should have.
            total_bytes: how many bytes of messages they may have to hold together.

        Raises:
            StoreUnavailable: a server does not answer within the timeout.
        """
        attempts = Attempts(self._timeout)
        cluster = self.address.kind is Kind.CLUSTER
        found: list[Finding] = []
        async with attempts.limit(self.address):
            own = await self._topology.find(key)
            endpoints = await self._topology.masters()
            for endpoint in endpoints:
                wire = await self._node(endpoint).connect()
                found += await inspected(
                    str(endpoint),
                    self._asking(wire, attempts),
                    key,
                    has_key=endpoint == own,
                    cluster=cluster,
                    replicas=replicas,
                    room=total_bytes // len(endpoints),
                )
            if uncovered := self._topology.uncovered():
                found.append(Finding(Severity.ERROR, f"no server of the cluster has {uncovered:,} of its 16,384 slots"))
        return found

    def _asking(self, wire: Wire, attempts: Attempts) -> Callable[[Command], Awaitable[Any]]:
        async def ask(command: Command) -> Any:
            reply = await wire.request(command, attempts.deadline)
            if isinstance(reply, StoreUnavailable):
                raise reply
            return reply

        return ask

    async def _say(self, endpoint: Endpoint, command: Command, attempts: Attempts) -> Any:
        wire = await self._node(endpoint).connect()
        reply = await wire.request(command, attempts.deadline)
        if isinstance(reply, Refusal):
            raise meaning(reply)
        if isinstance(reply, StoreUnavailable):
            raise reply
        return reply

    async def _request(self, key: bytes, command: Callable[[Wire], Command], attempts: Attempts) -> tuple[Any, Wire]:
        """Send a command until the answer is not about the server itself."""
        while True:
            wire = self._ready(key) or await self._reach(key, attempts)
            reply = await wire.request(command(wire), attempts.deadline)
            if isinstance(reply, StoreUnavailable):
                if reply.ambiguous:
                    raise reply
                await attempts.pause(reply)
            elif isinstance(reply, Refusal) and self._passes(reply, wire):
                await attempts.pause(StoreUnavailable(f"{wire.endpoint} answers {reply.text}"))
            else:
                return reply, wire

    def _passes(self, refusal: Refusal, wire: Wire) -> bool:
        """Return whether the server did nothing now, and it or another one may a moment later."""
        if not was_not_done(refusal):
            return False
        if refusal.code == "MOVED":
            _, slot, where = refusal.text.split(" ")
            host, _, port = where.rpartition(":")
            self._topology.moved(int(slot), pointed_to(host, int(port), wire.endpoint))
        elif refusal.code == "READONLY":
            # It was a master and is one no longer, as it says to the next connection.
            wire.abort(f"{wire.endpoint} is a replica now")
        return True

    def _asking_terms(self) -> Terms:
        """Return terms for servers that are only asked: several silent ones must fit into one call's timeout."""
        who = self.address.sentinel_credentials if self.address.kind is Kind.SENTINEL else self.address.credentials
        return replace(self._terms, timeout=min(1.0, self._timeout / 4), credentials=who, db=0)

    def _ready(self, key: bytes) -> Wire | None:
        endpoint = self._topology.endpoint(key)
        node = self._nodes.get(endpoint) if endpoint else None
        return node.wire if node else None

    async def _reach(self, key: bytes, attempts: Attempts) -> Wire:
        while True:
            endpoint = await self._locate(key, attempts)
            try:
                async with attempts.limit(endpoint):
                    return await self._node(endpoint).connect()
            except StoreUnavailable as failure:
                self._topology.doubt(endpoint)
                await attempts.pause(failure)

    async def _locate(self, key: bytes, attempts: Attempts) -> Endpoint:
        while True:
            if endpoint := self._topology.endpoint(key):
                return endpoint
            try:
                async with attempts.limit(self.address):
                    return await self._topology.find(key)
            except StoreUnavailable as failure:
                await attempts.pause(failure)

    def _node(self, endpoint: Endpoint) -> Node:
        node = self._nodes.get(endpoint)
        if node is None:
            node = self._nodes[endpoint] = Node(lambda: self._open(endpoint))
        return node

    async def _open(self, endpoint: Endpoint) -> Wire:
        wire = await Wire.open(endpoint, self._terms)
        try:
            await self._check(wire)
        except BaseException:
            wire.abort()
            raise
        return wire

    async def _check(self, wire: Wire) -> None:
        """Check that a server is a master, and learn its run id.

        Raises:
            StoreUnavailable: it is a replica, or does not answer.
        """
        if not self._topology.accepts(wire):
            self._topology.doubt(wire.endpoint)
            raise StoreUnavailable(f"{wire.endpoint} is no master")
        reply = await wire.request((b"INFO", b"server"), asyncio.get_running_loop().time() + self._timeout)
        if isinstance(reply, StoreUnavailable):
            raise StoreUnavailable(str(reply))
        wire.server = "" if isinstance(reply, Refusal) else facts(reply).get("run_id", "")
