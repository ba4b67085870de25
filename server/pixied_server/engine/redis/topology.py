"""Which server has a key: one server, the master that Sentinels name, or the master of a slot of a cluster."""

from binascii import crc_hqx
from collections.abc import Collection
from typing import Protocol

from pixied_server.engine.redis.address import Address, Endpoint, Kind
from pixied_server.engine.redis.wire import Terms, Wire

__all__ = ["Single", "Topology", "slot_of", "topology"]

_SLOTS = 16_384


def slot_of(key: bytes) -> int:
    """A key's slot in a cluster: by its hash tag, if it has one."""
    start = key.find(b"{")
    end = key.find(b"}", start + 2) if start >= 0 else -1
    if end >= 0 and key[start + 1 : start + 2] != b"}":
        key = key[start + 1 : end]
    return crc_hqx(key, 0) % _SLOTS


class Topology(Protocol):
    """What is known of a store's servers, and how more is found out."""

    def endpoint(self, key: bytes) -> Endpoint | None:
        """The server that has a key as far as is known; None: `find` it."""

    async def find(self, key: bytes) -> Endpoint:
        """Ask which server has a key.

        Raises:
            StoreUnavailable: if nobody knows.
        """

    async def masters(self) -> Collection[Endpoint]:
        """Ask for all servers that have keys.

        Raises:
            StoreUnavailable: if nobody knows.
        """

    async def current(self, key: bytes) -> Endpoint:
        """The server that has a key, by what is known for at most a second.

        Raises:
            StoreUnavailable: if nobody knows.
        """

    def accepts(self, wire: Wire) -> bool:
        """Whether a server that was reached says of itself that it is one that has keys."""

    def doubt(self, endpoint: Endpoint) -> None:
        """A server can't be reached or no longer is what it was: ask before it is used again."""

    def moved(self, slot: int, to: Endpoint) -> None:
        """A server said who has a slot."""

    async def close(self) -> None:
        """Close what was opened to ask."""


class Single:
    """One server, which has all keys."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def endpoint(self, key: bytes) -> Endpoint | None:  # noqa: ARG002, D102
        return self._endpoint

    async def find(self, key: bytes) -> Endpoint:  # noqa: ARG002, D102
        return self._endpoint

    async def masters(self) -> Collection[Endpoint]:  # noqa: D102
        return (self._endpoint,)

    async def current(self, key: bytes) -> Endpoint:  # noqa: ARG002, D102
        return self._endpoint

    def accepts(self, wire: Wire) -> bool:  # noqa: ARG002, D102
        return True

    def doubt(self, endpoint: Endpoint) -> None:
        """There is no other."""

    def moved(self, slot: int, to: Endpoint) -> None:
        """It never does."""

    async def close(self) -> None:
        """Nothing was opened."""


def topology(address: Address, terms: Terms, sentinel_terms: Terms) -> Topology:
    """How the servers of an address are found."""
    match address.kind:
        case Kind.SINGLE | Kind.UNIX:
            return Single(address.endpoints[0])
    raise NotImplementedError
