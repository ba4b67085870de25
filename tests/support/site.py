"""A real server in this process, and a raw client beside it."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import grpc
from tests.support.caller import Caller

from pixied_server import app
from pixied_server.settings import Settings

__all__ = ["DEFAULTS", "Site", "serving"]

DEFAULTS: dict[str, Any] = {}
"""Settings of each server that does not have its own: a fixture that runs tests on several engines sets them."""


class Site(Caller):
    """A server in this process with a channel to it."""

    def __init__(self, channel: grpc.aio.Channel, addresses: Sequence[str], ended: "asyncio.Task[None]") -> None:
        super().__init__(channel)
        self.addresses = addresses
        self.address = addresses[0]
        self.ended = ended

    @asynccontextmanager
    async def another_channel(self, **options: int | str) -> AsyncIterator[Caller]:
        """A client with a connection of its own."""
        async with grpc.aio.insecure_channel(self.address, options=_named(options)) as channel:
            yield Caller(channel)


@asynccontextmanager
async def serving(
    listen: Sequence[str] = ("127.0.0.1:0",), *, shared: bool = False, **settings: Any
) -> AsyncIterator[Site]:
    """A server on a free port, or one that it shares with others, gone when the context is left."""
    started: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        app.serve(Settings(listen=tuple(listen), **DEFAULTS | settings), shared=shared, listening=started.set_result)
    )
    try:
        await asyncio.wait((started, task), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        addresses = started.result()
        async with grpc.aio.insecure_channel(addresses[0], options=_named({"use_local_subchannel_pool": 1})) as channel:
            yield Site(channel, addresses, task)
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def _named(options: Mapping[str, int | str]) -> list[tuple[str, int | str]]:
    return [(f"grpc.{name}", value) for name, value in options.items()]
