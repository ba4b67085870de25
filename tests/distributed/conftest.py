"""Fixtures: each test runs on a server and on a cluster."""

from collections.abc import AsyncIterator

import pytest
from tests.distributed.pair import Pair, opened


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
