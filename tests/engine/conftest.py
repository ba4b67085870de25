"""Fixtures for the tests of engines: each test runs on each engine."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest
from hypothesis import settings
from tests.engine.benches import Limits, OpenBench, open_memory, open_redis
from tests.engine.site import Site
from tests.support.faultless import no_fault_logged

OpenSite = Callable[..., Awaitable[Site]]


@pytest.fixture(autouse=True)
def _no_fault_logged() -> Iterator[None]:
    """No test passes in which something failed that the program survives."""
    with no_fault_logged():
        yield


@pytest.fixture(params=["memory", "redis", "cluster"])
def open_bench(request: pytest.FixtureRequest) -> OpenBench:
    """How to set up the engine of this run."""
    if request.param == "memory":
        return open_memory
    return open_redis(request.getfixturevalue(f"{request.param}_url"), engine_timeout=10.0)


@pytest.fixture
def histories(request: pytest.FixtureRequest, open_bench: OpenBench) -> int:
    """How many histories are tried on this run's engine: one takes 20 ms, and far more where each step asks a store.

    PIXIED_HISTORIES multiplies: a part of them makes `make unit` quick, many are for a night.
    """
    del open_bench
    if settings.get_current_profile_name() != "default":
        return settings().max_examples
    factor = float(os.environ.get("PIXIED_HISTORIES", "1"))
    return round({"memory": 700, "redis": 60, "cluster": 20}[request.node.callspec.params["open_bench"]] * factor)


@pytest.fixture
async def open_site(open_bench: OpenBench) -> AsyncIterator[OpenSite]:
    """How to open sites with limits of one's own."""
    async with AsyncExitStack() as stack:

        async def opened(limits: Limits | None = None, **settings: int) -> Site:
            return Site(await stack.enter_async_context(open_bench(limits or Limits())), **settings)

        yield opened


@pytest.fixture
async def site(open_site: OpenSite) -> Site:
    """A site that no limit spoils."""
    return await open_site()
