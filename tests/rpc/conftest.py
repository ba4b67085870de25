"""Fixtures for the tests of the gRPC server."""

from collections.abc import AsyncIterator

import pytest
from tests.support.site import Site, serving


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with serving() as started:
        yield started
