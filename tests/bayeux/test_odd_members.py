"""Members that mean nothing: each message is refused by itself, or served; none is an error of the front-end's."""

import json
import logging
from collections.abc import AsyncIterator

import pytest
from tests.bayeux.site import Browser, Reply, opened, read, served
from tests.sdk.servers import Server

from pixied_client.bayeux import Bayeux, Timing, cometd

HUGE = "1" + 400 * "0"
ODD = [
    r'"\ud800"',
    r'"/a\udc00"',
    r'["/a\ud800"]',
    r'{"\ud800":1}',
    r'{"ack":{"a":"\ud800"}}',
    HUGE,
    "1" + 3_000 * "0",
    "1" + 5_000 * "0",
    f'{{"timeout":{HUGE}}}',
    f'{{"timeout":-{HUGE},"ack":{HUGE}}}',
    '{"timeout":1e400,"ack":-1e400}',
    '{"timesync":{"tc":1e400,"l":0,"o":0}}',
    f'{{"timesync":{{"tc":{HUGE},"l":-{HUGE},"o":1.5}}}}',
    '{"timesync":{"tc":9007199254740993,"ts":-1e400}}',
    '{"timeout":true,"ack":false}',
    r'"\u0000"',
    '[["/a"]]',
]
"""JSON texts that stand for any member's value."""

NAMES = [
    "channel",
    "clientId",
    "id",
    "data",
    "ext",
    "advice",
    "subscription",
    "connectionType",
    "version",
    "minimumVersion",
    "supportedConnectionTypes",
    "successful",
    "error",
    r"\ud800",
]
MINE = '"clientId":"mine"'
MESSAGES = {
    "/meta/handshake": '"version":"1.0","supportedConnectionTypes":["long-polling"]',
    "/meta/connect": f'{MINE},"connectionType":"long-polling"',
    "/meta/subscribe": f'{MINE},"subscription":"/a"',
    "/meta/unsubscribe": f'{MINE},"subscription":"/a"',
    "/meta/disconnect": '"clientId":"nobody"',
    "/a": f'{MINE},"data":1',
    "/service/a": f'{MINE},"data":1',
}


def odd(channel: str, name: str, value: str, client_id: str) -> str:
    """Write a message of a channel, with another value for one of its members."""
    members = f'"channel":"{channel}","id":"1",{MESSAGES[channel].replace("mine", client_id)}'
    return f'{{{members},"{name}":{value}}}'  # of two members with one name the last one counts


async def post(browser: Browser, text: str) -> list[Reply]:
    """Send JSON as it is; give the replies."""
    response = await browser.http.post(browser.url, content=text, headers={"content-type": "application/json"})
    assert response.status_code == 200
    return read(response.text)


@pytest.fixture
async def place(server: Server) -> AsyncIterator[str]:
    """A front-end that holds nobody for long, notes who is active, and tells the time."""
    timing = Timing(timeout=0.02, max_inactivity=60.0)
    async with served(Bayeux(server.address, timing=timing, extensions=[cometd.TimeSync()])) as place:
        yield place


@pytest.mark.parametrize("value", ODD)
async def test_requests_with_odd_messages(place: str, caplog: pytest.LogCaptureFixture, value: str) -> None:
    """Every message gets its reply, whatever stands beside it, and nothing is logged as an error."""
    async with Browser(f"http://{place}/") as browser:
        visitor = await browser.handshake()
        good = json.dumps({"channel": "/a", "clientId": visitor.client_id, "data": 1, "id": "good"})
        for channel in MESSAGES:
            odd_ones = [odd(channel, name, value, visitor.client_id) for name in NAMES]
            replies = await post(browser, f"[{','.join([*odd_ones, good])}]")
            assert len(replies) == len(odd_ones) + 1
            assert [reply for reply in replies if reply.get("error", "").startswith("5")] == []
            # Beside a handshake nothing else is carried out.
            assert (replies[-1]["id"], replies[-1]["successful"]) == ("good", channel != "/meta/handshake")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_odd_messages_on_a_websocket(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """They are answered as those of a request are, and the socket stays."""
    async with opened(f"http://{place}/") as socket:
        client_id = await socket.handshake()
        for value in ODD:
            for name in ("clientId", "advice", "subscription"):
                await socket.connection.send(odd("/meta/subscribe", name, value, client_id))
                (reply,) = await socket.receive()
                assert not reply.get("error", "").startswith("5"), reply
        await socket.ask("/meta/subscribe", clientId=client_id, subscription="/a")
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


@pytest.mark.parametrize(
    ("name", "channel"), [("clientId", "/meta/subscribe"), ("subscription", "/meta/subscribe"), ("channel", "/a")]
)
async def test_half_a_surrogate_pair_is_refused(place: str, name: str, channel: str) -> None:
    """The refusal names the member that can't be sent on, and what was sent comes back as it was."""
    async with Browser(f"http://{place}/") as browser:
        visitor = await browser.handshake()
        text = odd(channel, name, r'"/a\ud800"', visitor.client_id)
        (reply,) = await post(browser, text)
        assert (reply["successful"], reply["error"]) == (False, f"400:{name}:Half of a surrogate pair")
        assert reply[name] == "/a\ud800"
