"""What is delivered is encoded once, and gathered."""

from collections.abc import Sequence

from tests.counts.counting import calls
from tests.counts.stage import Stage

from pixied.v1 import attach_pb2 as attach
from pixied_server.delivery.link import Link

MESSAGES = 200
HANDLES = 1_000


async def test_what_waits_for_a_link_goes_out_in_one_frame() -> None:
    """200 messages that a link has not taken yet are one frame with one batch, its 1,000 handles named once."""
    stage = Stage()
    link = await stage.link(await stage.subscribed(HANDLES))
    await stage.sent(link)
    await stage.publish(MESSAGES, at_once=10)
    (frame,) = await stage.sent(link)
    (event,) = attach.AttachResponse.FromString(frame).events
    (batch,) = event.delivery.batches
    assert (len(batch.messages), len(batch.handles)) == (MESSAGES, HANDLES)


async def test_a_message_is_encoded_once_for_all_links() -> None:
    """200 messages for 3 links are encoded 200 times: when they come, and not again for a link or a client."""
    stage = Stage()
    links = [await stage.link(await stage.subscribed(HANDLES)) for _ in range(3)]
    await _round(stage, links)
    with calls() as counts:
        await _round(stage, links)
    answers, deliveries = MESSAGES, len(links)
    assert counts["SerializeToString"] - answers - deliveries == MESSAGES


async def _round(stage: Stage, links: Sequence[Link]) -> None:
    await stage.publish(MESSAGES, at_once=10)
    for link in links:
        await stage.sent(link)


async def test_as_many_answers_as_questions() -> None:
    """A frame of operations is answered with one frame."""
    stage = Stage()
    await stage.subscribed(1)
    assert len(await stage.publish(MESSAGES, at_once=10)) == MESSAGES // 10


async def test_a_delivery_costs_the_same_for_many_handles() -> None:
    """Frames for 3,000 handles are put together with the calls that frames for 1,000 take."""
    counted = []
    for handles in (1_000, 3_000):
        stage = Stage()
        link = await stage.link(await stage.subscribed(handles))
        await stage.publish(10)
        await stage.sent(link)
        await stage.publish(10)
        with calls() as counts:
            await stage.sent(link)
        counted.append(counts)
    assert counted[0] == counted[1]
