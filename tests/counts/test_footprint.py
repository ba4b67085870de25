"""What a client weighs."""

import tracemalloc

from tests.counts.counting import blocks
from tests.counts.stage import Stage

CLIENTS = 2_000


async def test_an_idle_client_is_few_blocks() -> None:
    """A client with a subscription of its own keeps at most 12 blocks of memory."""
    stage = Stage()
    await stage.subscribed(10, "/warm/{}")
    with blocks() as used:
        await stage.subscribed(CLIENTS, "/own/{}")
    assert used.kept / CLIENTS < 12


async def test_an_idle_client_is_light() -> None:
    """A client with a subscription of its own takes less than 700 bytes of Python's memory."""
    stage = Stage()
    await stage.subscribed(10, "/warm/{}")
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        await stage.subscribed(CLIENTS, "/own/{}")
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / CLIENTS < 700


async def test_an_attached_client_is_few_blocks() -> None:
    """To attach a client keeps at most 16 blocks more, beside some that are its link's, or in Python's free lists."""
    few, many = [await _kept_by(clients) for clients in (CLIENTS, 2 * CLIENTS)]
    assert round((many - few) / CLIENTS, 1) <= 16


async def _kept_by(clients: int) -> int:
    """How many blocks so many attached clients keep."""
    stage = Stage()
    ids = await stage.subscribed(clients)
    with blocks() as used:
        link = await stage.link(ids)
        await stage.sent(link)
    return used.kept
