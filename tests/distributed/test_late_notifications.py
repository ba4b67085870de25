"""Notifications that come late: what they ask for, or tell, may be over by then."""

import asyncio

from tests.distributed.gate import gate
from tests.distributed.pair import Pair


def _wires(pair: Pair) -> list[object]:
    """The connections on which `here` receives."""
    return list({ear.pubsub._wire for ear in pair.here.engine.subscriber._all})  # type: ignore[attr-defined]


async def test_who_was_asked_for_a_client_long_ago_keeps_it_when_it_has_it_again(pair: Pair) -> None:
    """A process that hears only now that another one wanted a client does not give up the claim that it made since."""
    await pair.here.create("ann")
    old, other, new = pair.here.front_end("old"), pair.there.front_end("other"), pair.here.front_end("new")
    await pair.here.attach("ann", old)
    await pair.read(old)
    for wire in _wires(pair):
        wire.pause()  # type: ignore[attr-defined]
    await pair.there.attach("ann", other)
    with gate(pair.here, "claim") as claimed:
        attaching = asyncio.create_task(pair.here.attach("ann", new))
        await claimed.reached.wait()
        for wire in _wires(pair):
            wire.resume()  # type: ignore[attr-defined]
        await pair.settle()
    await attaching
    await pair.there.queue_for("ann", "1")
    await pair.read(old, other, new)
    assert new.texts("ann") == ["1"]
    assert (await pair.there.look_at("ann")).front_end == "new"
