"""One attached client, as its consumer sees it, with a link that only notes its calls."""

import asyncio
from collections.abc import Iterable

import pytest
from tests.sdk.servers import TIMEOUT

from pixied_client import Attachment, Delivery, Detached, DetachReason, Gap, Message
from pixied_client.attachment import Standing

GONE = Detached(DetachReason.TAKEN_OVER, "by another")


class AttachmentHost:
    """Notes what attachments ask of it.

    Attributes:
        released: the numbers of what was dealt with.
        confirmed: the numbers that clients have confirmed.
        given_up: who was given up.
    """

    def __init__(self) -> None:
        self.released: list[int] = []
        self.confirmed: list[int] = []
        self.given_up: list[Attachment] = []

    def release(self, numbers: Iterable[int]) -> None:
        """See `pixied_client.attachment.AttachmentHost`."""
        self.released += numbers

    def confirm(self, attachment: Attachment, number: int) -> None:
        """See `pixied_client.attachment.AttachmentHost`."""
        del attachment
        self.confirmed.append(number)

    def give_up(self, attachment: Attachment) -> None:
        """See `pixied_client.attachment.AttachmentHost`."""
        self.given_up.append(attachment)


@pytest.fixture
def host() -> AttachmentHost:
    return AttachmentHost()


@pytest.fixture
async def ann(host: AttachmentHost) -> Attachment:
    """A client that is attached."""
    return attached(host)


def attached(host: AttachmentHost, *, explicit: bool = False) -> Attachment:
    attachment = Attachment(host, "ann", 7, explicit=explicit, expires=False, ack_cursor=0)
    attachment.attached()
    return attachment


def delivery(number: int, data: str = "1", cursor: int = 0) -> Delivery:
    return Delivery((Message("/a", data),), redelivered=False, number=number, cursor=cursor)


def come(attachment: Attachment, *deliveries: Delivery) -> None:
    for one in deliveries:
        attachment.deliver(one)
    attachment.wake()


def numbers_of(taken: list[Delivery] | Detached) -> list[int]:
    assert isinstance(taken, list)
    return [one.number for one in taken]


async def test_iteration_deals_with_one_after_the_other(host: AttachmentHost, ann: Attachment) -> None:
    """Asking for the next item says that the one before has been dealt with, and waits for it."""
    come(ann, delivery(1), delivery(2))
    assert (await anext(ann), host.released) == (delivery(1), [])
    assert (await anext(ann), host.released) == (delivery(2), [1])
    waiting = asyncio.ensure_future(anext(ann))
    await asyncio.sleep(0)
    assert (waiting.done(), host.released) == (False, [1, 2])
    come(ann, delivery(3))
    assert await asyncio.wait_for(waiting, TIMEOUT) == delivery(3)


async def test_the_last_item_says_why_it_is_over(host: AttachmentHost, ann: Attachment) -> None:
    """What was not taken by then is someone else's; iteration ends behind it."""
    come(ann, delivery(1), delivery(2), delivery(3))
    assert await anext(ann) == delivery(1)
    ann.end(GONE)
    assert sorted(host.released) == [1, 2, 3]
    assert [item async for item in ann] == [GONE]
    assert [item async for item in ann] == []
    assert (ann.detached, ann.standing) == (GONE, Standing.OVER)


async def test_who_waits_learns_that_it_is_over(ann: Attachment) -> None:
    """In an iteration and in `take`."""
    waiting = [asyncio.ensure_future(anext(ann)), asyncio.ensure_future(ann.take())]
    await asyncio.sleep(0)
    ann.end(GONE)
    assert await asyncio.wait_for(asyncio.gather(*waiting), TIMEOUT) == [GONE, GONE]


async def test_all_that_is_at_hand_is_taken_at_once(host: AttachmentHost, ann: Attachment) -> None:
    """And dealt with when more is asked for."""
    come(ann, delivery(1), delivery(2))
    assert numbers_of(await ann.take()) == [1, 2]
    assert host.released == []
    waiting = asyncio.ensure_future(ann.take())
    await asyncio.sleep(0)
    assert (waiting.done(), host.released) == (False, [1, 2])
    come(ann, delivery(3))
    assert numbers_of(await asyncio.wait_for(waiting, TIMEOUT)) == [3]
    assert numbers_of(ann.at_hand()) == []
    assert host.released == [1, 2, 3]


@pytest.mark.parametrize(
    ("room", "taken"),
    [(None, [[1, 2, 3]]), (0, [[1], [2], [3]]), (5, [[1], [2], [3]]), (8, [[1, 2], [3]]), (12, [[1, 2, 3]])],
)
async def test_no_more_is_taken_than_there_is_room_for(
    ann: Attachment, room: int | None, taken: list[list[int]]
) -> None:
    """But at least one delivery; what fits exactly fits."""
    come(ann, *[delivery(number, '"12"') for number in (1, 2, 3)])
    assert [numbers_of(await ann.take(room)) for _ in taken] == taken


async def test_a_nudge_ends_a_wait_once(ann: Attachment) -> None:
    """Whoever waits in `take`, or does so next, gets nothing; the time after it waits again."""
    waiting = asyncio.ensure_future(ann.take())
    await asyncio.sleep(0)
    ann.nudge()
    assert await asyncio.wait_for(waiting, TIMEOUT) == []
    ann.nudge()
    assert await asyncio.wait_for(ann.take(), TIMEOUT) == []
    waiting = asyncio.ensure_future(ann.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_the_end_is_taken_again_and_again(ann: Attachment) -> None:
    """Whatever came before it."""
    come(ann, delivery(1))
    ann.end(GONE)
    assert [await ann.take(), ann.at_hand(), await ann.take()] == [GONE] * 3


async def test_who_leaves_the_context_detaches(host: AttachmentHost, ann: Attachment) -> None:
    """And waits until the server has done so."""

    async def stay() -> None:
        async with ann as same:
            assert same is ann

    leaving = asyncio.ensure_future(stay())
    await asyncio.sleep(0)
    assert (host.given_up, leaving.done()) == ([ann], False)
    ann.end(GONE)
    await asyncio.wait_for(leaving, TIMEOUT)


async def test_gaps_come_with_the_next_delivery(ann: Attachment) -> None:
    """Those of a channel add up, and each is announced once."""
    for gap in (Gap("/a", 1), Gap("/b", 5), Gap("/a", 2)):
        ann.lost(gap)
    come(ann, delivery(1), delivery(2))
    first, second = await anext(ann), await anext(ann)
    assert isinstance(first, Delivery)
    assert isinstance(second, Delivery)
    assert (first.gaps, second.gaps) == ((Gap("/a", 3), Gap("/b", 5)), ())


async def test_a_link_that_broke_takes_its_deliveries_with_it(host: AttachmentHost, ann: Attachment) -> None:
    """What was taken of them is not dealt with any more, and their gaps come again with them."""
    come(ann, delivery(1), delivery(2))
    await anext(ann)
    ann.lost(Gap("/a", 1))
    ann.broke()
    assert (ann.standing, ann.dealt_with) == (Standing.ASKED, 0)
    come(ann, delivery(3))
    again = await anext(ann)
    assert (again, host.released) == (delivery(3), [])


async def test_what_has_been_dealt_with(ann: Attachment) -> None:
    """It ends before the oldest delivery that was taken, or waits."""
    assert ann.dealt_with == 0
    come(ann, delivery(2), delivery(4), delivery(5))
    assert ann.dealt_with == 1
    await anext(ann)
    assert ann.dealt_with == 1
    ann.done()
    assert ann.dealt_with == 3
    await anext(ann)
    await anext(ann)
    assert ann.dealt_with == 4
    ann.done()
    assert ann.dealt_with == 5


async def test_a_client_that_confirms_moves_its_cursor(host: AttachmentHost) -> None:
    """To that of the delivery that it names, also of one without a cursor of its own; only where it confirms itself."""
    bob = attached(host, explicit=True)
    come(bob, delivery(1, cursor=40), delivery(2, cursor=20), delivery(3), delivery(4, cursor=9))
    cursors = []
    for number in (0, 1, 3, 4):
        bob.confirm(number)
        cursors.append(bob.ack_cursor)
    assert (cursors, host.confirmed) == ([0, 40, 20, 9], [0, 1, 3, 4])
    carol = attached(host)
    come(carol, delivery(1, cursor=40))
    carol.confirm(1)
    assert carol.ack_cursor == 0


async def test_no_secret_is_shown(ann: Attachment) -> None:
    """The client's id stands in no log by accident."""
    assert repr(ann) == "<Attachment 7 held>"


async def test_old_cursors_are_forgotten(host: AttachmentHost) -> None:
    """A client that confirms what came 1,024 deliveries ago or more confirms it on its own link alone."""
    ann = attached(host, explicit=True)
    come(ann, *[delivery(number, cursor=10 * number) for number in range(1, 1_026)])
    for number, cursor in ((1, 0), (2, 20), (1_025, 10_250)):
        ann.confirm(number)
        assert ann.ack_cursor == cursor
    assert host.confirmed == [1, 2, 1_025]
