"""Links that are far behind."""

from collections.abc import Iterator

import pytest
from tests.faults.stage import receive, running
from tests.support.link import ack, linked
from tests.support.redis_servers import single

MESSAGES = 60_001


@pytest.fixture(params=["memory", "redis"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each engine."""
    if request.param == "memory":
        yield "memory"
        return
    with single() as server:
        yield server.url


async def test_a_link_that_is_far_behind_gets_everything(engine: str) -> None:
    """60,001 messages wait for a link that confirms nothing: then it gets all in order, and is told of no loss."""
    texts = [str(number) for number in range(MESSAGES)]
    async with running(engine) as [pixied], linked(pixied, window=1) as link:
        await link.attach(await pixied.client("/a"), 1)
        await pixied.publish("/a", "first")
        first = await receive(link, "first", confirm=False)
        await pixied.publish_many("/a", texts)
        await link.send(ack(first.number))
        got = await receive(link, texts[-1])
    assert got.lost == 0
    assert got.texts == texts
