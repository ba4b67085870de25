"""How much may come from one caller, and that the others get their turn."""

import asyncio
from typing import Any

import pytest
from tests.bayeux.site import Browser, Socket, opened, served
from tests.sdk.servers import Server
from websockets.exceptions import ConnectionClosed

from pixied_client.bayeux import Bayeux, BayeuxMessage, Limits, Rate, Refusal, Request
from pixied_client.bayeux.budget import Budgets

MANY = Rate(messages=1_000_000, bytes=1 << 40)
SOME = Rate(messages=2.0, bytes=1_000.0)
"""So little comes back while a test runs that it makes no difference; eight messages, and 4,000 bytes, at once."""
SOCKET = {"type": "websocket", "path": "/", "headers": []}


def _request(peer: str = "10.0.0.1") -> Request:
    return Request("http", "/", {}, peer, {})


def _messages(count: int, client_id: str = "ann") -> list[BayeuxMessage]:
    return [BayeuxMessage({"channel": "/a", "clientId": client_id}) for _ in range(count)]


def _wait(budgets: Budgets, messages: list[BayeuxMessage], size: int = 0, peer: str = "10.0.0.1") -> float:
    """How many seconds a request is told to wait."""
    try:
        budgets.check(_request(peer), messages, size)
    except Refusal as refusal:
        return float(refusal.advice["interval"]) / 1_000
    return 0.0


class Clock:
    """Tells the time."""

    now = 100.0

    def __call__(self) -> float:
        """Give it, in seconds."""
        return self.now


@pytest.mark.parametrize(("messages", "size"), [(4, 0), (1, 2_000)], ids=["messages", "bytes"])
@pytest.mark.parametrize("by", ["session", "address"])
def test_four_seconds_worth_may_come_at_once(by: str, messages: int, size: int) -> None:
    """Then so much a second; what is refused costs nothing."""
    clock = Clock()
    session, address = (SOME, MANY) if by == "session" else (MANY, SOME)
    budgets = Budgets(Limits(session_rate=session, address_rate=address), clock)
    waits = [_wait(budgets, _messages(messages), size) for _ in range(4)]
    assert waits == [0.0, 0.0, 2.0, 2.0]
    clock.now += 1.5
    assert _wait(budgets, _messages(messages), size) == 0.5
    clock.now += 0.5
    assert _wait(budgets, _messages(messages), size) == 0.0
    clock.now += 1_000.0
    assert [_wait(budgets, _messages(messages), size) for _ in range(3)] == [0.0, 0.0, 2.0]


def test_callers_have_budgets_of_their_own() -> None:
    """Sessions at one address do not spend each other's, nor do addresses."""
    budgets = Budgets(Limits(session_rate=SOME, address_rate=Rate(messages=4.0, bytes=1 << 20)), Clock())
    assert _wait(budgets, _messages(8, "ann")) == 0.0
    assert _wait(budgets, _messages(1, "ann")) > 0.0
    assert _wait(budgets, [*_messages(4, "bob"), *_messages(4, "cid")]) == 0.0
    assert _wait(budgets, _messages(1, "dan")) > 0.0
    assert _wait(budgets, _messages(1, "dan"), peer="10.0.0.2") == 0.0


def test_a_request_without_messages_counts_as_one() -> None:
    """What can't be read is work too."""
    budgets = Budgets(Limits(address_rate=SOME), Clock())
    assert [_wait(budgets, []) > 0.0 for _ in range(9)] == [*[False] * 8, True]


def test_more_than_ever_fits_passes_after_a_silence() -> None:
    """And the next one waits for longer."""
    clock = Clock()
    budgets = Budgets(Limits(session_rate=SOME, address_rate=MANY), clock)
    assert _wait(budgets, _messages(20), 5_000) == 0.0
    assert _wait(budgets, _messages(1)) == 6.5
    clock.now += 6.5
    assert _wait(budgets, _messages(1)) == 0.0


def test_budgets_are_remembered_to_a_bound() -> None:
    """Of 10,000 callers; who has sent nothing for so long has all of it again."""
    budgets = Budgets(Limits(session_rate=SOME, address_rate=MANY), Clock())
    _wait(budgets, _messages(8, "first"))
    for number in range(9_998):
        _wait(budgets, _messages(1, f"other {number}"))
    assert _wait(budgets, _messages(1, "first")) > 0.0
    for number in range(10_000):
        _wait(budgets, _messages(1, f"another {number}"))
    assert _wait(budgets, _messages(8, "first")) == 0.0


async def test_a_socket_that_sends_flat_out_gives_others_their_turn() -> None:
    """One for each message, though the next one is there already."""
    turns: list[int] = []
    sent = 0

    async def receive() -> dict[str, Any]:
        nonlocal sent
        sent += 1
        if sent == 1:
            return {"type": "websocket.connect"}
        return {"type": "websocket.disconnect"} if sent > 1_000 else {"type": "websocket.receive", "text": "[]"}

    async def send(_: Any) -> None:
        pass

    async def other() -> None:
        while True:
            turns.append(sent)
            await asyncio.sleep(0)

    polite = asyncio.create_task(other())
    await Bayeux()(SOCKET, receive, send)
    polite.cancel()
    assert len({turn for turn in turns if turn}) > 990


async def _spend(socket: Socket) -> None:
    """Send so much at once that nothing more may come for a minute."""
    await socket.send(*[{}] * 150)
    assert [reply["error"][:3] for reply in await socket.receive()] == ["402"] * 150


async def test_a_socket_that_sends_too_much_is_told_so_and_closed(server: Server) -> None:
    """Each of its messages is answered, none is carried out, and its session goes on elsewhere."""
    limits = Limits(session_rate=SOME)
    async with served(Bayeux(server.address, limits=limits)) as place:
        async with opened(f"http://{place}/") as socket:
            client_id = await socket.handshake()
        async with opened(f"http://{place}/") as socket:
            await socket.ask("/meta/subscribe", clientId=client_id, subscription="/flood")
        async with opened(f"http://{place}/") as socket:
            await _spend(socket)
            await socket.send(*({"channel": "/flood", "data": n, "id": n, "clientId": client_id} for n in range(3)))
            assert [(one["id"], one["error"]) for one in await socket.receive()] == [
                (n, "429::Too many messages") for n in range(3)
            ]
            with pytest.raises(ConnectionClosed):
                await socket.receive()
            assert socket.connection.close_code == 1008
        async with opened(f"http://{place}/") as socket:
            await socket.send(
                {
                    "channel": "/meta/connect",
                    "connectionType": "websocket",
                    "clientId": client_id,
                    "advice": {"timeout": 0},
                }
            )
            assert [one.get("data", one.get("successful")) for one in await socket.receive()] == [True]


async def test_a_socket_that_sends_what_can_not_be_read_is_closed(server: Server) -> None:
    """It is told why."""
    limits = Limits(session_rate=SOME)
    async with served(Bayeux(server.address, limits=limits)) as place, opened(f"http://{place}/") as socket:
        await _spend(socket)
        await socket.connection.send("{")
        (reply,) = await socket.receive()
        assert (reply["successful"], reply["error"]) == (False, "429::Too many messages")
        with pytest.raises(ConnectionClosed):
            await socket.receive()


async def test_requests_that_bring_too_much_are_told_to_wait(server: Server) -> None:
    """Each message is answered, a connect with the advice to wait; what brings none has the status 429."""
    limits = Limits(address_rate=SOME)
    async with served(Bayeux(server.address, limits=limits)) as place, Browser(f"http://{place}/") as browser:
        await browser.post(*[{}] * 150)
        published, connected = await browser.post({"channel": "/a", "data": 1}, {"channel": "/meta/connect"})
        assert published["error"] == connected["error"] == "429::Too many messages"
        assert connected["advice"]["reconnect"] == "retry"
        assert connected["advice"]["interval"] > 1_000
        refused = await browser.http.post(browser.url, json=[])
        assert (refused.status_code, refused.json()[0]["error"]) == (429, "429::Too many messages")


@pytest.mark.parametrize("kind", ["application/json", "image/png"])
async def test_requests_that_can_not_be_read_count(server: Server, kind: str) -> None:
    """However they are refused."""
    limits = Limits(address_rate=Rate(messages=0.01, bytes=1_000))
    async with served(Bayeux(server.address, limits=limits)) as place, Browser(f"http://{place}/") as browser:
        unread = await browser.http.post(browser.url, content=b"{", headers={"content-type": kind})
        assert unread.status_code in {400, 415}
        assert (await browser.http.post(browser.url, json=[])).status_code == 429
