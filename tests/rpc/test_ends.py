"""A call of Attach that is cancelled while its link releases its clients: it releases all of them."""

import asyncio
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import pytest
from tests.engine.benches import Limits, MemoryBench
from tests.engine.site import Site
from tests.support.caller import within

from pixied.v1 import attach_pb2 as wire
from pixied_server.admin import Drain
from pixied_server.core.channels import Grammar
from pixied_server.delivery.link import LinkLimits
from pixied_server.rpc.attach import AttachServicer, LinkTerms
from pixied_server.rpc.checks import RequestLimits, Validator

# More than are released before others get a turn.
_MANY = 900


@pytest.fixture(autouse=True)
def engine() -> None:
    """Memory alone, and no server."""


class _Call:
    """A call whose front-end ends its side when a test says so; what is written goes nowhere."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def write(self, frame: bytes) -> None:
        """Take a frame."""

    async def requests(self, frame: bytes) -> AsyncIterator[bytes]:
        """One frame, and the end."""
        yield frame
        await self.over.wait()


async def test_a_call_that_is_cancelled_while_its_link_closes_releases_all_clients() -> None:
    """However many there are: those whose turn comes after the cancellation too."""
    site = Site(MemoryBench(Limits()))
    names = [str(number) for number in range(_MANY)]
    await site.create(*names)
    commands = [wire.AttachCommand(hello=wire.Hello(front_end="front"))]
    for handle, name in enumerate(names, 1):
        commands.append(wire.AttachCommand(attach=wire.AttachClient(client_id=site.ids[name], handle=handle)))
    valid = Validator(Grammar(), RequestLimits(60.0, 0.1, 3_600.0, 1 << 20, 1_000, 300.0))
    terms = LinkTerms(60.0, 300.0, LinkLimits(), "1")
    servicer = AttachServicer(site.hub, valid, Drain(1.0, lambda: None, Random(1)), terms)
    call: Any = _Call()
    serving = asyncio.ensure_future(
        servicer.attach(call.requests(wire.AttachRequest(commands=commands).SerializeToString()), call)
    )
    async with within():
        while site.hub.owned < _MANY:  # noqa: ASYNC110 - the call goes on in between
            await asyncio.sleep(0)
        call.over.set()
        while site.hub.owned == _MANY:  # noqa: ASYNC110 - the call goes on in between
            await asyncio.sleep(0)
        assert site.hub.owned > 0
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    assert site.hub.owned == 0
    assert {(await site.look_at(name)).front_end for name in names} == {""}
