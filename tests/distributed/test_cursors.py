"""Cursors that were handed out by one process and are named at another."""

from tests.distributed.pair import Pair
from tests.engine.front_end import FrontEnd
from tests.engine.site import texts


def _last_cursor(front: FrontEnd) -> int:
    return front.deliveries[-1].batches[-1].cursor


async def _gets(pair: Pair, front: FrontEnd, text: str) -> int:
    """The client ann gets a message through a link. Returns the cursor that comes with it."""
    await pair.here.publish("/a", text)
    await pair.read(front)
    return _last_cursor(front)


async def test_a_cursor_is_good_though_another_process_has_handed_out_a_lower_one_since(pair: Pair) -> None:
    """Numbers do not ascend from one process to the other: the client has not received the later one yet."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    first, second, last = pair.there.front_end("first"), pair.here.front_end("second"), pair.here.front_end("last")
    await pair.there.attach("ann", first, explicit=True)
    cursor = await _gets(pair, first, "1")
    await pair.here.attach("ann", second, explicit=True)
    assert await _gets(pair, second, "2") < cursor
    await pair.here.attach("ann", last, explicit=True, cursor=cursor)
    await pair.read(last)
    assert not last.failed
    assert last.texts("ann") == last.marked("ann") == ["2"]


async def test_a_cursor_of_a_process_that_is_dead_is_forgotten_and_not_refused(pair: Pair) -> None:
    """Nobody knows which it handed out last: it confirms nothing."""
    await pair.here.create("ann")
    await pair.here.subscribe("ann", "/a")
    first, second, last = pair.there.front_end("first"), pair.here.front_end("second"), pair.here.front_end("last")
    await pair.there.attach("ann", first, explicit=True)
    cursor = await _gets(pair, first, "1")
    await pair.die(pair.there)
    await pair.reap(pair.here, pair.there)
    await pair.here.attach("ann", second, explicit=True)
    await second.read()
    assert _last_cursor(second) < cursor
    await pair.here.attach("ann", last, explicit=True, cursor=cursor)
    await last.read()
    assert not last.failed
    assert last.texts("ann") == last.marked("ann") == ["1"]


async def test_a_cursor_is_good_though_a_link_with_a_lower_one_had_the_client_since(pair: Pair) -> None:
    """What a link gave to other clients before it had this one is no cursor of it."""
    await pair.here.create("ann", "bob")
    full = pair.here.front_end("full", window=1)
    await pair.here.attach("bob", full)
    await pair.here.queue_for("bob", "filler")
    await pair.read(full)
    await pair.here.queue_for("bob", "filler")
    await full.read()
    await pair.here.queue_for("ann", "1")
    taken = await pair.here.dequeue("ann", explicit=True)
    await pair.here.attach("ann", full)
    await full.read()
    assert _last_cursor(full) < int(taken.cursor, 16)
    assert texts(await pair.here.dequeue("ann", cursor=taken.cursor)) == []
