"""A call of Attach that is cancelled while its link releases its clients: it releases all of them."""

import asyncio

import pytest
from tests.engine.benches import Limits, MemoryBench
from tests.engine.site import Site
from tests.support.caller import within
from tests.support.servicers import Call, attach

# More than are released before others get a turn.
_MANY = 900


@pytest.fixture(autouse=True)
def engine() -> None:
    """Memory alone, and no server."""


async def test_a_call_that_is_cancelled_while_its_link_closes_releases_all_clients() -> None:
    """However many there are: those whose turn comes after the cancellation too."""
    site = Site(MemoryBench(Limits()))
    names = [str(number) for number in range(_MANY)]
    await site.create(*names)
    call = Call()
    serving = asyncio.ensure_future(attach(site, call, *(site.ids[name] for name in names)))
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
