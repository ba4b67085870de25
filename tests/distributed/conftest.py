"""Fixtures: each test runs on a server and on a cluster."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.distributed.pair import Pair, opened
from tests.support.faultless import no_fault_logged


@pytest.fixture(autouse=True)
def _no_fault_logged() -> Iterator[None]:
    """No test passes in which something failed that the program survives."""
    with no_fault_logged():
        yield


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
