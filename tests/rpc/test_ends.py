"""Calls that are cancelled in the middle of something: what they hold is released, and nothing of it confirmed."""

import asyncio

import pytest
from tests.engine.benches import Limits, MemoryBench
from tests.engine.site import Site, texts
from tests.support.caller import within
from tests.support.servicers import Call, attach, deliver

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


class _UnreadCall(Call):
    """A call whose peer reads nothing.

    Attributes:
        writing: set when a frame waits to be read.
    """

    def __init__(self) -> None:
        super().__init__()
        self.writing = asyncio.Event()

    async def write(self, frame: bytes) -> None:
        """Wait for ever."""
        del frame
        self.writing.set()
        await asyncio.Event().wait()


async def test_a_deliver_that_is_cancelled_while_it_writes_confirms_nothing_of_that() -> None:
    """Messages whose reader is gone before they were written come again, marked."""
    site = Site(MemoryBench(Limits()))
    await site.create("ann")
    await site.queue_for("ann", "1")
    call = _UnreadCall()
    serving = asyncio.ensure_future(deliver(site, call, site.ids["ann"]))
    async with within():
        await call.writing.wait()
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
    taken = await site.dequeue("ann")
    assert (texts(taken), taken.redelivered) == (["1"], 1)
