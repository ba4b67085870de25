"""One pixied for all tests, and front-ends on it."""

from collections.abc import AsyncIterator, Iterator

import pytest
from tests.bayeux.site import Ask, Browser, opened, served
from tests.sdk.servers import Server, running_server

from pixied_client import Backend
from pixied_client.bayeux import Bayeux, Timing

TIMING = Timing(timeout=20.0, max_interval=10.0, multiple_clients_interval=1.5)
"""Connects are held for longer than a test takes: none ends by itself while something else is to end it."""


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with running_server() as started:
        yield started


@pytest.fixture
async def backend(server: Server) -> AsyncIterator[Backend]:
    async with Backend(server.address) as opened:
        yield opened


@pytest.fixture
def bayeux(server: Server) -> Bayeux:
    """A front-end that a test may give hooks before it is first asked."""
    return Bayeux(server.address, name="first", timing=TIMING)


@pytest.fixture
async def url(bayeux: Bayeux) -> AsyncIterator[str]:
    async with served(bayeux) as place:
        yield f"http://{place}/bayeux"


@pytest.fixture
async def browser(url: str) -> AsyncIterator[Browser]:
    async with Browser(url) as opened:
        yield opened


@pytest.fixture
async def other_url(server: Server) -> AsyncIterator[str]:
    """A second front-end on the same pixied."""
    async with served(Bayeux(server.address, name="second", timing=TIMING)) as place:
        yield f"http://{place}/bayeux"


@pytest.fixture
async def other_browser(other_url: str) -> AsyncIterator[Browser]:
    async with Browser(other_url) as opened:
        yield opened


@pytest.fixture(params=["http", "websocket"])
def transport(request: pytest.FixtureRequest) -> str:
    """How messages travel, as a `Request` names it."""
    name: str = request.param
    return name


@pytest.fixture
async def ask(transport: str, url: str) -> AsyncIterator[Ask]:
    """Asks the first front-end, by HTTP and by a WebSocket in turn."""
    if transport == "http":
        async with Browser(url) as asking:
            yield asking.ask
    else:
        async with opened(url) as socket:
            yield socket.ask
