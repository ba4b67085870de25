"""Notifications that come late: what they ask for, or tell, may be over by then."""

import asyncio

from tests.distributed.gate import gate
from tests.distributed.pair import Pair


async def test_a_process_that_was_asked_to_yield_long_ago_keeps_its_later_claim(pair: Pair) -> None:
    """A process that is asked late to yield a client to another one keeps the claim that it has made since."""
    await pair.here.create("ann")
    old, other, new = pair.here.front_end("old"), pair.there.front_end("other"), pair.here.front_end("new")
    await pair.here.attach("ann", old)
    await pair.read(old)
    pair.store.silence()
    await pair.there.attach("ann", other)
    with gate(pair.here, "claim") as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", new))
        await claimed.reached.wait()
        pair.store.resume()
        await pair.settle()
    await attaching
    await pair.there.queue_for("ann", "1")
    await pair.read(old, other, new)
    assert new.texts("ann") == ["1"]
    assert (await pair.there.look_at("ann")).front_end == "new"
