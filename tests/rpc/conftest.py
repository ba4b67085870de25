"""Fixtures for the tests of the gRPC server: each test that serves runs on each engine."""

import os
from collections.abc import AsyncIterator
from itertools import count

import pytest
from tests.support import site as sites
from tests.support.site import Site, serving

from pixied_server.engine.abc import Engine
from pixied_server.engine.memory import MemoryEngine
from pixied_server.engine.redis import RedisEngine

_ENGINES: dict[str, type[Engine]] = {"memory": MemoryEngine, "redis": RedisEngine}
_names = count(1)


@pytest.fixture(params=["memory", "redis"], autouse=True)
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the servers of a test keep their state in."""
    name: str = request.param
    if name == "redis":
        prefix = f"rpc{os.getpid()}-{next(_names)}"
        url = request.getfixturevalue("redis_url")
        # Far more time than the store takes on a loaded machine.
        settings = {"engine": url, "redis_prefix": prefix, "redis_partitions": 4, "redis_timeout": 10.0}
        monkeypatch.setattr(sites, "DEFAULTS", settings)
    return name


@pytest.fixture
def engine_class(engine: str) -> type[Engine]:
    """The class of the servers' engine, for tests that have it fail, or wait."""
    return _ENGINES[engine]


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A server with the default settings."""
    async with serving() as started:
        yield started
