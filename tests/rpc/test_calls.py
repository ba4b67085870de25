"""Jobs that end with the first of them."""

import asyncio

import pytest
from tests.support.caller import within

from pixied_server.rpc.calls import first_of


@pytest.fixture(autouse=True)
def engine() -> None:
    """Nothing here needs one."""


class _Jobs:
    """Jobs that end when they are told to, and note how they ended."""

    def __init__(self) -> None:
        self.ended: list[str] = []
        self.begun = asyncio.Event()

    async def lasting(self) -> None:
        """Goes on until it is cancelled, and then has something to put away."""
        try:
            self.begun.set()
            await asyncio.get_running_loop().create_future()
        finally:
            await asyncio.sleep(0)
            self.ended.append("lasting")

    async def short(self) -> None:
        """Ends by itself."""
        await self.begun.wait()
        self.ended.append("short")

    async def failing(self) -> None:
        """Fails."""
        await self.begun.wait()
        raise LookupError


async def test_when_the_first_has_ended_so_have_the_others() -> None:
    """They are cancelled, and nothing of them goes on."""
    jobs = _Jobs()
    async with within():
        await first_of(jobs.lasting(), jobs.short(), jobs.lasting())
    assert jobs.ended == ["short", "lasting", "lasting"]


async def test_a_failure_is_that_of_all() -> None:
    """Though others have ended at the same moment; the rest has ended too."""
    jobs = _Jobs()
    with pytest.raises(LookupError):
        await first_of(jobs.lasting(), jobs.short(), jobs.failing())
    assert jobs.ended == ["short", "lasting"]


async def test_who_is_cancelled_leaves_nothing_that_goes_on() -> None:
    """A call that its client gives up ends all that it began."""
    jobs = _Jobs()
    all_jobs = asyncio.ensure_future(first_of(jobs.lasting(), jobs.lasting()))
    await jobs.begun.wait()
    all_jobs.cancel()
    with pytest.raises(asyncio.CancelledError):
        await all_jobs
    assert jobs.ended == ["lasting", "lasting"]
