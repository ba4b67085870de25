"""Fixtures: each test runs on a server and on a cluster."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.distributed.pair import Pair, opened
from tests.support.redis_servers import cluster, single


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """A Redis server for all tests of a worker."""
    with single() as server:
        yield server.url


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """A cluster of three masters."""
    with cluster() as servers:
        yield servers.url


@pytest.fixture(params=["redis", "cluster"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The store of this run."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
async def pair(store_url: str) -> AsyncIterator[Pair]:
    """Two sites over it."""
    async with opened(store_url) as both:
        yield both
