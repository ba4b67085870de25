"""The server that tests share, and the three ways of carrying out an operation."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, TypeAlias

import pytest
from tests.sdk.servers import Server, running_server

from pixied_client import Admin, Backend, FrontEnd, sync


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server that the tests of a run share; each uses clients and channels of its own."""
    with running_server() as started:
        yield started


@pytest.fixture(autouse=True)
def no_callback_fails_unseen(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """What fails in a callback of the event loop is only logged; here it fails the test."""
    yield
    # With its traceback, for only that says whose code it was.
    failed = [logging.Formatter().format(record) for record in caplog.get_records("call") if record.name == "asyncio"]
    assert [text for text in failed if "Exception in callback" in text and "pixied_client" in text] == []


class Threaded:
    """A blocking object, each of its methods awaited in a thread."""

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._blocking, name)

        async def in_thread(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(method, *args, **kwargs)

        return in_thread


Operations: TypeAlias = Any
"""A Backend, a FrontEnd, or a blocking Backend in threads: all have the same methods."""


@pytest.fixture(params=["asyncio", "blocking", "pipeline"])
async def backend(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Operations]:
    """Every operation, by each face of the SDK in turn."""
    if request.param == "asyncio":
        async with Backend(server.address) as awaited:
            yield awaited
    elif request.param == "blocking":
        with sync.Backend(server.address) as blocking:
            yield Threaded(blocking)
    else:
        async with FrontEnd(server.address, "test") as front_end:
            yield front_end


@pytest.fixture(params=["asyncio", "blocking"])
async def admin(request: pytest.FixtureRequest, server: Server) -> AsyncIterator[Operations]:
    """The operator's operations, by both faces of the SDK."""
    if request.param == "asyncio":
        async with Admin(server.address) as awaited:
            yield awaited
    else:
        with sync.Admin(server.address) as blocking:
            yield Threaded(blocking)


@pytest.fixture
async def plain(server: Server) -> AsyncIterator[Backend]:
    """The plain asynchronous Backend, for what is not the subject of a test."""
    async with Backend(server.address) as opened:
        yield opened


@pytest.fixture
def room(request: pytest.FixtureRequest) -> str:
    """A channel name that no other test uses."""
    return f"/test/{abs(hash(request.node.nodeid))}"


@pytest.fixture
def blocking(server: Server) -> Iterator[sync.Backend]:
    with sync.Backend(server.address) as opened:
        yield opened


@pytest.fixture
async def awaited_admin(server: Server) -> AsyncIterator[Admin]:
    async with Admin(server.address) as opened:
        yield opened


@pytest.fixture
def blocking_admin(server: Server) -> Iterator[sync.Admin]:
    with sync.Admin(server.address) as opened:
        yield opened
