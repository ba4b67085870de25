"""A front-end in a process of its own, to be killed, paused or cut off.

It reads one JSON line: where the server is, which clients to attach, how large its window is, and how many deliveries
it leaves unconfirmed. It writes one JSON line for each thing that happens, before it confirms it; so what was confirmed
was told. When its stream breaks it opens another one.
"""

import asyncio
import json
import os
import sys
from typing import Any

import grpc
from tests.support.caller import Caller
from tests.support.link import RawLink, ack, attach, linked

from pixied.v1 import attach_pb2 as wire

_IMPATIENT = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 100)]


def _tell(**facts: Any) -> None:
    line = json.dumps(facts).encode() + b"\n"
    while line:
        line = line[os.write(1, line) :]


def _got(delivery: wire.Delivery) -> list[tuple[int, str, bool]]:
    return [
        (handle, json.loads(message.data), batch.redelivered)
        for batch in delivery.batches
        for message in batch.messages
        for handle in batch.handles
    ]


async def _hear(link: RawLink, hold: int) -> None:
    """Tell and confirm what comes, until the stream breaks."""
    while True:
        event = await link.event()
        match event.WhichOneof("event"):
            case "attached":
                _tell(attached=list(event.attached.handles))
            case "delivery":
                _tell(got=_got(event.delivery))
                if event.delivery.number > hold:
                    await link.send(ack(event.delivery.number - hold))
            case "gap":
                _tell(lost=event.gap.gap.lost, handles=list(event.gap.handles))
            case "detached":
                _tell(detached=event.detached.handle)
            case "heartbeat":
                await link.send(wire.AttachCommand(heartbeat=wire.Heartbeat()))


async def _serve(address: str, name: str, clients: list[str], window: int, hold: int) -> None:
    async with grpc.aio.insecure_channel(address, options=_IMPATIENT) as channel:
        while True:
            try:
                async with linked(Caller(channel), name, window) as link:
                    await link.send(*[attach(client_id, handle) for handle, client_id in enumerate(clients)])
                    await _hear(link, hold)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
                await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(_serve(**json.loads(sys.stdin.readline())))
