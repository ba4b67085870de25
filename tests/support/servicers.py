"""Calls of Attach and Deliver without a server: their servicers, and a call that a test ends."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from random import Random
from typing import Any

from tests.engine.site import Site
from tests.support.writing import Written, writer_to

from pixied.v1 import attach_pb2 as wire
from pixied.v1 import operations_pb2 as ops
from pixied_server.admin import Drain
from pixied_server.core.channels import Grammar
from pixied_server.delivery.link import LinkLimits
from pixied_server.rpc.attach import AttachServicer, LinkTerms
from pixied_server.rpc.checks import RequestLimits, Validator
from pixied_server.rpc.deliver import DeliverServicer

_VALID = Validator(Grammar(), RequestLimits(60.0, 0.1, 3_600.0, 1 << 20, 1_000, 300.0))


class Call(Written):
    """A call whose front-end ends its side when a test says so; what is written goes nowhere.

    Attributes:
        over: set to end it.
    """

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def write(self, frame: bytes) -> None:
        """Take a frame."""

    async def requests(self, frame: bytes) -> AsyncIterator[bytes]:
        """One frame, and the end."""
        yield frame
        await self.over.wait()


def attach(site: Site, call: Call, *client_ids: str) -> Awaitable[None]:
    """Serve a link with these clients."""
    commands = [wire.AttachCommand(hello=wire.Hello(front_end="front"))]
    for handle, client_id in enumerate(client_ids, 1):
        commands.append(wire.AttachCommand(attach=wire.AttachClient(client_id=client_id, handle=handle)))
    servicer = AttachServicer(site.hub, _VALID, _drain(), LinkTerms(60.0, 300.0, LinkLimits(), "1"))
    context: Any = call
    return servicer.attach(call.requests(wire.AttachRequest(commands=commands).SerializeToString()), writer_to(context))


def deliver(site: Site, call: Call, client_id: str) -> Awaitable[None]:
    """Serve a Deliver of a client."""
    request = ops.DeliverRequest(client_id=client_id)
    context: Any = call
    return DeliverServicer(site.hub, _VALID, _drain()).deliver(request.SerializeToString(), writer_to(context))


def _drain() -> Drain:
    return Drain(1.0, lambda: None, Random(1))
