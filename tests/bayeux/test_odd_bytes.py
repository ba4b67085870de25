"""Bytes that are no text, and values that can't be written: one request's or one message's fault, and nobody else's."""

import json
from collections.abc import AsyncIterator

import pytest
from tests.bayeux.site import KINDS, Browser, opened, served
from tests.sdk.servers import Server

from pixied_client import Backend
from pixied_client.bayeux import Bayeux, BayeuxMessage, Extension, Request

CHANNELS = [
    "/meta/handshake",
    "/meta/connect",
    "/meta/subscribe",
    "/meta/unsubscribe",
    "/meta/disconnect",
    "/meta/nothing",
    "/service/a",
    "/a",
]
BYTES = {
    "no UTF-8": b"\xff",
    "half of a surrogate pair": b"\xed\xa0\xbd",
    "cut off": b"\xe2\x82",
    "overlong": b"\xc0\xaf",
}
MEMBERS = [
    b'"id":"%s"',
    b'"clientId":"%s"',
    b'"subscription":["/a","%s"]',
    b'"connectionType":"%s"',
    b'"ext":{"a":["%s"]}',
    b'"data":{"%s":1}',
    b'"%s":1',
]
JSON_TYPE = {"content-type": "application/json"}


def batch(channel: str, member: bytes) -> bytes:
    """Write a request: a good message before and after one of a channel, with a member."""
    good = b'{"channel":"/a","data":1,"id":"good"}'
    kinds = json.dumps(KINDS).encode()[1:-1]
    return b'[%s,{"channel":"%s",%s,%s},%s]' % (good, channel.encode(), kinds, member, good)


@pytest.mark.parametrize("odd", BYTES.values(), ids=BYTES)
@pytest.mark.parametrize("channel", CHANNELS)
async def test_a_request_that_is_no_text_is_refused_and_does_nothing(
    browser: Browser, backend: Backend, channel: str, odd: bytes
) -> None:
    """Wherever it stands, also where the reply would repeat it: 400 for the whole request."""
    subscriber = (await backend.create_client()).client_id
    await backend.subscribe(subscriber, "/a")
    for member in MEMBERS:
        body = batch(channel, member % odd)
        response = await browser.http.post(browser.url, content=body, headers=JSON_TYPE)
        assert response.status_code == 400
        assert response.json() == [{"successful": False, "error": "400::Bad request: it is not UTF-8"}]
    assert (await backend.get_client(subscriber)).pending == 0


@pytest.mark.parametrize("odd", BYTES.values(), ids=BYTES)
async def test_a_frame_that_is_no_text_leaves_the_socket_alone(url: str, backend: Backend, odd: bytes) -> None:
    """It is answered, nothing of it is done, and who is held on the socket gets messages as before."""
    async with opened(url) as socket:
        client_id = await socket.handshake()
        await socket.ask("/meta/subscribe", clientId=client_id, subscription="/a")
        await socket.hold(backend, client_id)
        for channel in CHANNELS:
            for member in MEMBERS:
                await socket.connection.send(batch(channel, member % odd))
                assert await socket.receive() == [{"successful": False, "error": "400::Bad request: it is not UTF-8"}]
        await socket.send({"channel": "/a", "data": "last"})
        frames = [*await socket.receive(), *await socket.receive()]
        assert [message["data"] for message in frames if "data" in message] == ["last"]


@pytest.fixture
async def echoing(server: Server) -> AsyncIterator[Browser]:
    """A front-end with an extension that hands what it has read on to the reply, and fails to when it is to."""

    class Echoing(Extension):
        async def replying(self, message: BayeuxMessage, request: Request) -> BayeuxMessage:
            del request
            asked = message.answers.ext if message.answers else {}
            message["ext"] = object() if asked.get("fail") else {**asked}
            return message

    async with served(Bayeux(server.address, extensions=[Echoing()])) as place, Browser(f"http://{place}/") as browser:
        yield browser


@pytest.mark.parametrize("value", [r'"\ud800"', r'{"\ud800":1}', "1" + 400 * "0", "1" + 5_000 * "0", "1e400", "-1e400"])
async def test_what_extensions_hand_on_can_be_written(echoing: Browser, value: str) -> None:
    """An extension that copies what JSON can say and few can read fails no request."""
    text = f'[{{"channel":"/a","data":1,"ext":{{"x":{value}}}}},{{"channel":"/a","data":2}}]'
    response = await echoing.http.post(echoing.url, content=text, headers=JSON_TYPE)
    assert response.status_code == 200
    assert [reply["successful"] for reply in response.json()] == [True, True]


async def test_a_reply_that_can_not_be_written_is_one_messages_misfortune(echoing: Browser) -> None:
    """The others of the request are answered: they have been carried out."""
    failed, good = await echoing.post(
        {"channel": "/a", "data": 1, "id": "1", "ext": {"fail": True}}, {"channel": "/a", "data": 2, "id": "2"}
    )
    assert (failed["id"], failed["error"]) == ("1", "500::Internal error")
    assert (good["id"], good["successful"]) == ("2", True)
