"""A front-end in a process of its own, to be killed, paused or cut off.

It reads one JSON line: where servers are, which clients to attach, how large its window is, and how many deliveries it
leaves unconfirmed. It writes one JSON line for each thing that happens, before it confirms it; so what was confirmed
was told. When its stream breaks it opens another one, at the next server. A client that it has lost to another
front-end it takes back only when it is told to, by any further line.
"""

import asyncio
import json
import os
import sys
from itertools import cycle
from typing import Any

import grpc
from tests.support.caller import Caller
from tests.support.link import RawLink, ack, attach, linked
from tests.support.refusals import refusal_in

from pixied.v1 import attach_pb2 as wire

_IMPATIENT = [("grpc.initial_reconnect_backoff_ms", 20), ("grpc.max_reconnect_backoff_ms", 100)]
_PAUSE = 0.02


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


class _FrontEnd:
    """See the module.

    Args:
        clients: the clients that it is to have; a client's handle is its place among them.
        hold: so many deliveries it leaves unconfirmed.
    """

    def __init__(self, clients: list[str], hold: int) -> None:
        self._all = dict(enumerate(clients))
        self._clients = dict(self._all)
        self._hold = hold
        self._link: RawLink | None = None

    async def attend(self, link: RawLink) -> None:
        """Take the clients onto a link, then tell and confirm what comes, until it breaks."""
        self._link = link
        # It may be paused meanwhile, for longer than anybody waits.
        link.timeout = None
        if self._clients:
            await link.send(*[attach(client_id, handle) for handle, client_id in self._clients.items()])
        while True:
            event = await link.event()
            match event.WhichOneof("event"):
                case "attached":
                    _tell(attached=list(event.attached.handles))
                case "attach_failed":
                    await self._try_again(link, event.attach_failed)
                case "delivery":
                    _tell(got=_got(event.delivery))
                    if event.delivery.number > self._hold:
                        await link.send(ack(event.delivery.number - self._hold))
                case "gap":
                    _tell(lost=event.gap.gap.lost, handles=list(event.gap.handles))
                case "detached":
                    self._lose(event.detached.handle, wire.DetachReason.Name(event.detached.reason))
                case "heartbeat":
                    await link.send(wire.AttachCommand(heartbeat=wire.Heartbeat()))

    async def take_back(self) -> None:
        """Take the clients that it has lost."""
        lost = self._all.items() - self._clients.items()
        self._clients |= lost
        if self._link and lost:
            await self._link.send(*[attach(client_id, handle) for handle, client_id in lost])

    async def _try_again(self, link: RawLink, failed: wire.AttachFailed) -> None:
        why = refusal_in(failed.error)
        if why.reason == "ENGINE_UNAVAILABLE":
            _tell(failed=failed.handle, why=why.text)
            await asyncio.sleep(_PAUSE)
            await link.send(attach(self._clients[failed.handle], failed.handle))
        else:
            self._lose(failed.handle, why.reason)

    def _lose(self, handle: int, why: str) -> None:
        del self._clients[handle]
        _tell(detached=handle, why=why)


async def _serve() -> None:
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    terms = json.loads(await lines.readline())
    front_end = _FrontEnd(terms.pop("clients"), terms.pop("hold"))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_obey(lines, front_end))
        tasks.create_task(_attend(front_end, **terms))


async def _obey(lines: asyncio.StreamReader, front_end: _FrontEnd) -> None:
    while await lines.readline():
        await front_end.take_back()


async def _attend(front_end: _FrontEnd, addresses: list[str], name: str, window: int) -> None:
    for address in cycle(addresses):
        async with grpc.aio.insecure_channel(address, options=_IMPATIENT) as channel:
            try:
                async with linked(Caller(channel), name, window) as link:
                    await front_end.attend(link)
            except (grpc.aio.AioRpcError, asyncio.InvalidStateError) as error:
                _tell(broke=str(error))
                await asyncio.sleep(_PAUSE)


if __name__ == "__main__":
    asyncio.run(_serve())
