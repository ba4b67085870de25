"""A client without an SDK."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from tests.support.contract import RPCS, input_of, output_of, path_of

from pixied.v1 import message_pb2

__all__ = ["TIMEOUT", "Caller", "message", "until", "within"]

TIMEOUT = 30.0
"""Seconds after which a test gives up waiting; far more than any step takes on a loaded machine."""


def message(channel: str, data: str = "1", **more: Any) -> message_pb2.Message:
    """A message of the contract."""
    return message_pb2.Message(channel=channel, data=data, **more)


def within(seconds: float = TIMEOUT) -> asyncio.Timeout:
    """A limit for a step of a test."""
    return asyncio.timeout(seconds)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until something holds on a server: asked again and again, for no one tells."""
    async with within():
        while not await condition():  # noqa: ASYNC110 - the state is another process's
            await asyncio.sleep(0.005)


class Caller:
    """Calls RPCs by name."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel

    async def __call__(self, rpc: str, **fields: Any) -> Any:
        """A unary RPC, with the fields of its request."""
        return await self.send(rpc, input_of(rpc)(**fields).SerializeToString())

    async def send(self, rpc: str, raw: bytes) -> Any:
        """A unary RPC, with its request's bytes as they are."""
        return await self.channel.unary_unary(path_of(rpc), response_deserializer=_decoder(rpc))(raw, timeout=TIMEOUT)

    def stream(self, rpc: str, **fields: Any) -> Any:
        """A call that is answered with a stream."""
        return self.stream_raw(rpc, input_of(rpc)(**fields).SerializeToString())

    def stream_raw(self, rpc: str, raw: bytes) -> Any:
        """As `stream`, with the request's bytes as they are."""
        return self.channel.unary_stream(path_of(rpc), response_deserializer=_decoder(rpc))(raw)

    def both_ways(self, rpc: str) -> Any:
        """A call with a stream each way, whose frames are sent encoded."""
        return self.channel.stream_stream(path_of(rpc), response_deserializer=_decoder(rpc))()

    async def first_answer(self, rpc: str, raw: bytes) -> Any:
        """The first answer of any RPC to these bytes as its first frame."""
        if not RPCS[rpc].server_streaming:
            return await self.send(rpc, raw)
        if not RPCS[rpc].client_streaming:
            return await self.stream_raw(rpc, raw).read()
        call = self.both_ways(rpc)
        await call.write(raw)
        return await call.read()

    # What many tests do

    async def client(self, *channels: str, **fields: Any) -> str:
        """A new client with these subscriptions; gives its id."""
        created = await self("CreateClient", **fields)
        client_id: str = created.client.client_id
        if channels:
            await self("Subscribe", client_id=client_id, channels=channels)
        return client_id

    async def is_held_by(self, client_id: str, front_end: str) -> bool:
        """Whether a client is held by who has this name; "" for no one."""
        described = await self("GetClient", client_id=client_id)
        return bool(described.client.front_end == front_end)

    async def publish(self, channel: str, *data: str, **more: Any) -> Any:
        """Publish data to a channel, in one request."""
        return await self("Publish", messages=[message(channel, one, **more) for one in data])

    async def taken(self, client_id: str, **fields: Any) -> list[str]:
        """The data of what a client has pending, taken from it."""
        return [one.data for one in (await self("DequeueFor", client_id=client_id, **fields)).messages]


def _decoder(rpc: str) -> Callable[[bytes], Any]:
    decode: Callable[[bytes], Any] = output_of(rpc).FromString
    return decode
