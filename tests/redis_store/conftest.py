"""Stores of the tests, and scripts to run in them."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import pytest
from tests.support.caller import until
from tests.support.faultless import no_fault_logged
from tests.support.redis_servers import (
    Certificates,
    Cluster,
    Server,
    Trio,
    certificates,
    cluster,
    sentinel_trio,
    single,
)

from pixied_server.engine.redis.connection.address import Address
from pixied_server.engine.redis.connection.store import Store

TIMEOUT = 10.0


class Opened(Protocol):
    """Opens stores."""

    def __call__(self, url: str, *, timeout: float = TIMEOUT) -> AbstractAsyncContextManager[Store]:
        """Open one, and close it when the context is left."""


async def found_at(store: Store, keys: Sequence[bytes], server: Server) -> None:
    """Wait until the store has found its keys on this server; it learns that a little after it is so."""

    async def found() -> bool:
        return await store.node_of(keys[0]) == server.address

    await until(found)


@pytest.fixture(autouse=True)
def _no_fault_logged() -> Iterator[None]:
    """No test passes in which something failed that the program survives."""
    with no_fault_logged():
        yield


@pytest.fixture
def opened() -> Opened:
    @asynccontextmanager
    async def opened(url: str, *, timeout: float = TIMEOUT) -> AsyncIterator[Store]:
        store = Store(Address.parse(url), timeout=timeout)
        try:
            await store.open()
            yield store
        finally:
            await store.close()

    return opened


@pytest.fixture
def server() -> Iterator[Server]:
    with single() as server:
        yield server


@pytest.fixture(scope="session")
def certified() -> Iterator[Certificates]:
    with certificates() as made:
        yield made


@pytest.fixture(scope="module")
def a_trio() -> Iterator[Trio]:
    with sentinel_trio() as trio:
        yield trio


@pytest.fixture
def trio(a_trio: Trio) -> Trio:
    a_trio.settle()
    return a_trio


@pytest.fixture(scope="module")
def a_cluster() -> Iterator[Cluster]:
    with cluster() as formed:
        yield formed
