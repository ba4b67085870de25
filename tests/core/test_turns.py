"""Turns: long work lets others go on, however much of it there is and whoever began it."""

import asyncio
from collections.abc import Callable

import pytest
from tests.support.turns import looking_on, stepping

from pixied_server.core.turns import Turns, caller


class Work:
    """Pieces of work: each does items that take a second, and gives turns that take two."""

    def __init__(self) -> None:
        self.time = 0.0
        self.turns = Turns(lambda: self.time, 2.0)
        self.done: list[str] = []

    def do(self, name: str) -> None:
        """Do an item."""
        self.time += 1.0
        self.done.append(name)

    async def piece(self, name: str, items: int = 10, by: str = "") -> None:
        """Do so many items for a caller."""
        caller.set(by)
        await self.turns.give()
        async for _ in self.turns.through(range(items)):
            self.do(name)


async def test_others_go_on_between_the_items_of_long_work() -> None:
    """After two seconds, and not after each item."""
    work = Work()
    async with looking_on(lambda: len(work.done)) as others:
        await work.piece("a", 100)
    assert others.most == 2
    assert 50 <= others.gone <= 110


async def test_short_work_does_not_wait() -> None:
    """What is done before its turn is over is done at once."""
    work = Work()
    async with looking_on() as others:
        await work.piece("a", 2)
        assert others.gone == 0


async def test_a_turn_begins_anew_in_each_pass_of_the_loop() -> None:
    """What others took of earlier ones counts no more."""
    work = Work()
    async with looking_on() as others:
        for _ in range(10):
            await work.piece("a", 2)
            await asyncio.sleep(0)
        assert others.gone <= 11


async def test_many_pieces_of_work_take_a_pass_no_longer_than_one() -> None:
    """A hundred that begin in the same pass of the loop: all of them together have a turn, and one that waited."""
    work = Work()
    async with looking_on(lambda: len(work.done)) as others:
        await asyncio.gather(*(work.piece(str(number), 3) for number in range(100)))
    assert len(work.done) == 300
    assert others.most <= 4


async def test_callers_take_turns() -> None:
    """Who has begun a hundred pieces of work keeps one that has begun one from a single turn at a time."""
    work = Work()
    abusive = [asyncio.create_task(work.piece("abusive", 10, "a")) for _ in range(100)]
    await asyncio.sleep(0)
    await work.piece("polite", 20, "b")
    assert work.done.count("abusive") <= 60
    await asyncio.gather(*abusive)
    assert len(work.done) == 1_020


async def test_own_work_has_every_other_turn() -> None:
    """However many callers there are; and they have the other ones."""
    work = Work()
    callers = [asyncio.create_task(work.piece("theirs", 10, str(number))) for number in range(50)]
    await asyncio.sleep(0)
    await asyncio.gather(work.piece("own", 20), work.piece("own", 20))
    assert 20 <= work.done.count("theirs") <= 60
    await asyncio.gather(*callers)


async def test_work_that_is_cancelled_while_it_waits_keeps_nobody() -> None:
    """Its turn goes to the next one."""
    work = Work()
    pieces = [asyncio.create_task(work.piece(str(number), 10)) for number in range(10)]
    await asyncio.sleep(0)
    for piece in pieces[1:]:
        piece.cancel()
    await asyncio.wait(pieces)
    assert work.done.count("0") == 10
    async with asyncio.timeout(30):
        await work.piece("later", 10)


async def test_what_is_begun_is_done_with_each_item_although_the_caller_goes() -> None:
    """And the caller ends as one that was cancelled; what it waited for comes to its end before that."""
    work = Work()
    doing = asyncio.create_task(work.turns.each(map(str, range(20)), work.do))
    await asyncio.sleep(0)
    assert 0 < len(work.done) < 20
    doing.cancel()
    await asyncio.wait([doing])
    assert doing.cancelled()
    assert work.done == list(map(str, range(20)))


@pytest.mark.parametrize("items", [1, 2, 50])
async def test_the_outcomes_come_in_the_order_of_the_items(items: int) -> None:
    """However many turns it takes."""
    turns = stepping(4)
    assert await turns.each(range(items), lambda number: number * 2) == [number * 2 for number in range(items)]


@pytest.mark.parametrize("at", [0, 1, 40])
async def test_an_item_that_fails_ends_the_work(at: int) -> None:
    """With what it has raised."""
    turns = stepping(4)
    done: list[int] = []

    def fail(number: int) -> None:
        if number == at:
            raise KeyError(number)
        done.append(number)

    with pytest.raises(KeyError):
        await turns.each(range(50), fail)
    assert done == list(range(at))


async def walks(turns: Turns, by: str, log: Callable[[str], None]) -> None:
    """Walk once for a caller."""
    caller.set(by)
    async with turns.walk():
        log(f"+{by}")
        await asyncio.sleep(0)
        log(f"-{by}")


async def test_a_caller_has_one_walk_at_a_time() -> None:
    """Its others wait, those of another caller do not; and nothing is kept of a caller that has none."""
    turns = Turns()
    seen: list[str] = []
    await asyncio.gather(*(walks(turns, by, seen.append) for by in ("a", "a", "b")))
    assert [one for one in seen if one[1] == "a"] == ["+a", "-a", "+a", "-a"]
    assert seen.index("+b") < seen.index("-a")


async def test_a_walk_that_fails_or_is_cancelled_lets_the_next_one_begin() -> None:
    """Whether it was under way or waited."""
    turns = Turns()
    seen: list[str] = []
    first, second, third = (asyncio.create_task(walks(turns, "a", seen.append)) for _ in range(3))
    await asyncio.sleep(0)
    first.cancel()
    second.cancel()
    await asyncio.wait([first, second, third])
    assert seen[-2:] == ["+a", "-a"]
    assert third.exception() is None
