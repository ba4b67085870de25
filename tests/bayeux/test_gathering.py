"""Messages that wait for a socket leave together."""

import asyncio
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from tests.bayeux.site import Browser, Socket, opened
from tests.sdk.servers import TIMEOUT, Server
from tests.support.memory import alive

from pixied_client import Attachment, Backend, Delivery, FrontEnd, Message
from pixied_client.bayeux import BayeuxMessage, Extension, Request, Timing
from pixied_client.bayeux.delivery import Writer
from pixied_client.bayeux.extension import Extensions
from pixied_client.bayeux.timed_sender import TimedSender


async def test_what_waits_leaves_in_one_frame(url: str, browser: Browser, backend: Backend) -> None:
    """A frame may hold several messages, and has them in the order in which they were published."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.ask("/meta/subscribe", clientId=client_id, subscription="/heap")
        await browser.post(*({"channel": "/heap", "data": number, "id": str(number)} for number in range(50)))
        await socket.hold(backend, client_id)
        assert await _data(socket, 50) == list(range(50))


async def _data(socket: Socket, count: int) -> list[Any]:
    data: list[Any] = []
    while len(data) < count:
        data += [message["data"] for message in await socket.receive() if "data" in message]
    return data


async def _held(front_end: FrontEnd, channel: str) -> Attachment:
    client = await front_end.create_client()
    await front_end.subscribe(client.client_id, [channel])
    return await front_end.attach(client.client_id)


async def test_what_is_large_leaves_in_several_frames(url: str, browser: Browser, backend: Backend) -> None:
    """What waits is not gathered into a frame larger than clients take: here six messages of 300 KB."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.ask("/meta/subscribe", clientId=client_id, subscription="/large")
        await socket.hold(backend, client_id)
        large = [f"{number}{'x' * 300_000}" for number in range(6)]
        await asyncio.gather(*(browser.ask("/large", data=data) for data in large))
        assert sorted(await _data(socket, 6)) == large


@pytest.mark.parametrize("extensions", [(), (Extension(),)])
async def test_one_large_delivery_leaves_in_several_portions(extensions: tuple[Extension, ...]) -> None:
    """Also what the backend sent as one is spread, in order: 100 messages of 10 KB would be more than clients take."""
    filler = "x" * 10_000
    messages = tuple(Message("/large", json.dumps([number, filler])) for number in range(100))
    delivery = Delivery(messages, redelivered=False, number=1)
    portions = await Writer(Extensions(extensions)).texts([delivery], cast(Request, SimpleNamespace()))
    assert 10 < len(portions) < 20
    assert max(map(len, portions)) < 80_000
    assert [one["data"][0] for portion in portions for one in json.loads(f"[{portion}]")] == list(range(100))


async def test_texts_are_kept_ready_within_a_bound() -> None:
    """For those who get the same messages soon; of 1,000 deliveries hardly any stays in memory."""
    writer = Writer(Extensions())
    before = alive(Message)
    for number in range(1_000):
        delivery = Delivery((Message("/a", str(number)),), redelivered=False, number=number)
        assert await writer.text([delivery], cast(Request, SimpleNamespace()))
    del delivery
    assert alive(Message) - before <= 100


async def test_taking_gives_all_that_is_at_hand(server: Server) -> None:
    """`take` waits for the first delivery and gives it with those behind it; what it gave is not given again."""
    async with FrontEnd(server.address, "taking") as front_end:
        taken = await _held(front_end, "/taken")
        for number in range(3):
            await front_end.publish_one(Message.of("/taken", number))
        values: list[Any] = []
        while len(values) < 3:
            deliveries = await asyncio.wait_for(taken.take(), TIMEOUT)
            assert isinstance(deliveries, list)
            values += [message.value for delivery in deliveries for message in delivery.messages]
        assert values == [0, 1, 2]
        assert taken.at_hand() == []


async def test_taking_heeds_the_room(server: Server) -> None:
    """Where there is no room for more, one delivery is taken at a time; the rest stays at hand."""
    async with FrontEnd(server.address, "room", window=8) as front_end:
        taken = await _held(front_end, "/room")
        for number in range(5):
            await front_end.publish_one(Message.of("/room", number))
        values: list[Any] = []
        while len(values) < 5:
            deliveries = await asyncio.wait_for(taken.take(1), TIMEOUT)
            assert isinstance(deliveries, list)
            assert len(deliveries) == 1
            values += [message.value for message in deliveries[0].messages]
        assert values == list(range(5))


async def test_a_nudge_ends_the_wait(server: Server) -> None:
    """Whoever waits in `take` gets nothing when it is nudged, and messages again afterwards."""
    async with FrontEnd(server.address, "nudged") as front_end:
        taken = await _held(front_end, "/nudged")
        waiting = asyncio.create_task(taken.take())
        await asyncio.sleep(0)
        taken.nudge()
        assert await waiting == []
        await front_end.publish_one(Message.of("/nudged", 1))
        assert len(await asyncio.wait_for(taken.take(), TIMEOUT)) == 1  # type: ignore[arg-type] - it was not detached


async def test_everyone_is_woken_though_not_at_once(server: Server) -> None:
    """More clients than are woken in one go all get their message."""
    async with FrontEnd(server.address, "many") as front_end:
        many = await asyncio.gather(*(_held(front_end, "/many") for _ in range(100)))
        await front_end.publish_one(Message.of("/many", "all"))
        taken = await asyncio.wait_for(asyncio.gather(*(one.take() for one in many)), TIMEOUT)
        assert all(isinstance(one, list) and one[0].messages[0].value == "all" for one in taken)


async def test_replies_have_a_look_of_their_own() -> None:
    """An extension that looks at replies alone does not see messages; a reply passes `outgoing` too."""

    class Replies(Extension):
        async def replying(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
            del request
            message["seen"] = [*message.get("seen", []), "reply"]
            return message

    class Everything(Extension):
        async def outgoing(self, message: BayeuxMessage, request: Request) -> BayeuxMessage | None:
            del request
            message["seen"] = [*message.get("seen", []), "all"]
            return message

    request = cast(Request, SimpleNamespace())
    assert not Extensions([Replies()]).look_out
    extensions = Extensions([Everything(), Replies()])
    assert extensions.look_out
    reply = await extensions.replying(BayeuxMessage(), request)
    delivered = await extensions.outgoing(BayeuxMessage(), request)
    assert reply is not None
    assert delivered is not None
    assert (json.loads(reply.json()), json.loads(delivered.json())) == ({"seen": ["reply", "all"]}, {"seen": ["all"]})


class _Slow:
    """A client whose socket takes something only when it is told to."""

    def __init__(self) -> None:
        self.given_up = 0
        self.takes = asyncio.Event()

    async def detach(self) -> None:
        self.given_up += 1

    async def send(self, text: str) -> None:
        del text
        await self.takes.wait()


async def _happened(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT):
        while not true():  # noqa: ASYNC110 - timers have no event
            await asyncio.sleep(0.001)


async def test_each_slow_send_is_noticed_once() -> None:
    """A client whose socket stalls is given up once, and a stuck socket is ended; one that reads is neither."""
    ended: list[bool] = []
    slow, quick = _Slow(), _Slow()
    sender = TimedSender(slow.send, Timing(stalled=0.02, stuck=0.06), lambda: ended.append(True))
    sending = asyncio.create_task(sender.send("[]", cast(Attachment, slow)))
    await _happened(lambda: slow.given_up == 1)
    assert not ended
    await _happened(lambda: bool(ended))
    slow.takes.set()
    await sending
    await sender.send("[]", cast(Attachment, quick))
    assert (slow.given_up, quick.given_up) == (1, 0)


async def test_a_second_stall_is_noticed_as_soon_as_the_first() -> None:
    """Where a client once stalled, nothing waits for the time after which it would have been stuck."""
    first, second = _Slow(), _Slow()
    sockets = iter((first, second))
    sender = TimedSender(lambda text: next(sockets).send(text), Timing(stalled=0.02, stuck=3_600), lambda: None)
    sending = asyncio.create_task(sender.send("[]", cast(Attachment, first)))
    await _happened(lambda: first.given_up == 1)
    first.takes.set()
    await sending
    sending = asyncio.create_task(sender.send("[]", cast(Attachment, second)))
    await _happened(lambda: second.given_up == 1)
    second.takes.set()
    await sending
