"""When clients come again: what they announce, what they are told, and that obeying never keeps them busy."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.bayeux.site import KINDS, Browser, Reply, opened, served, until
from tests.sdk.servers import Server

from pixied_client import Backend, ClientUnknown, FrontEnd, PingResult, Unavailable
from pixied_client.bayeux import Bayeux, Handshake, Timing
from pixied_client.bayeux.absences import Absences

NOW = {"timeout": 0}


@pytest.fixture
async def quick(server: Server) -> AsyncIterator[Browser]:
    """A front-end whose sessions live for 0.5 s without a connect."""
    bayeux = Bayeux(server.address, timing=Timing(max_interval=0.5))
    async with served(bayeux) as place, Browser(f"http://{place}/") as browser:
        yield browser
    await bayeux.close()


async def _ends(backend: Backend, client_id: str) -> float:
    """Wait for a session's end; give how long it took."""
    began = asyncio.get_running_loop().time()
    while True:
        try:
            await backend.get_client(client_id)
        except ClientUnknown:
            return asyncio.get_running_loop().time() - began
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("transport", ["http", "websocket"])
async def test_a_session_lives_for_as_long_as_its_client_announces(
    quick: Browser, backend: Backend, transport: str
) -> None:
    """`advice.interval` in a connect; and it is not over before the usual time after that."""
    visitor = await quick.handshake()
    advice = {**NOW, "interval": 1_500}
    if transport == "http":
        (reply,) = await visitor.connect(advice=advice)
    else:
        async with opened(quick.url) as socket:
            reply = await socket.ask(
                "/meta/connect", clientId=visitor.client_id, connectionType="websocket", advice=advice
            )
    assert reply["advice"]["interval"] == 1_500
    assert await _ends(backend, visitor.client_id) >= 1.5


async def test_a_session_with_a_short_interval_of_its_own_lives_as_long_as_announced(
    server: Server, backend: Backend
) -> None:
    """It would be over long before one that has the front-end's interval."""
    bayeux = Bayeux(server.address, timing=Timing(interval=600.0, max_interval=0.5))

    @bayeux.can_handshake
    async def at_once(handshake: Handshake) -> bool:
        handshake.interval = 0.0
        return True

    async with served(bayeux) as place, Browser(f"http://{place}/") as browser:
        visitor = await browser.handshake()
        await visitor.connect(advice={**NOW, "interval": 1_500})
        assert await _ends(backend, visitor.client_id) >= 1.5
    await bayeux.close()


async def test_who_comes_back_is_away_no_more(quick: Browser, backend: Backend) -> None:
    """With its next connect what it announced before is over, and it may announce something else."""
    visitor = await quick.handshake()
    await visitor.connect(advice={**NOW, "interval": 500_000})
    (reply,) = await visitor.connect(advice=NOW)
    assert reply["advice"]["interval"] == 0
    await _ends(backend, visitor.client_id)  # else this test would last for minutes


async def test_who_leaves_is_forgotten(quick: Browser, backend: Backend) -> None:
    """Nobody pings a session that is over."""
    visitor = await quick.handshake()
    await visitor.connect(advice={**NOW, "interval": 500_000})
    await visitor.ask("/meta/disconnect")
    with pytest.raises(ClientUnknown):
        await backend.get_client(visitor.client_id)


@pytest.mark.parametrize("interval", [-1, True, "5000", None, [1], {}, 0])
async def test_what_is_no_interval_is_ignored(browser: Browser, interval: object) -> None:
    """Whatever stands in its place."""
    visitor = await browser.handshake()
    (reply,) = await visitor.connect(advice={**NOW, "interval": interval})
    assert (reply["successful"], reply["advice"]["interval"]) == (True, 0)


async def test_nobody_is_away_for_ever(browser: Browser) -> None:
    """What is beyond all measure counts as the longest time that there is."""
    visitor = await browser.handshake()
    (reply,) = await visitor.connect(advice={**NOW, "interval": 10**400})
    assert reply["advice"]["interval"] == 600_000
    await visitor.ask("/meta/disconnect")


async def test_many_are_away_and_their_pings_survive_an_outage() -> None:
    """They go together, a thousand at a time; those that are unknown are asked for no more; none hangs on a failure."""
    asked: list[list[str]] = []

    class Away:
        """A front-end whose pixied is away at first."""

        async def ping_clients(self, client_ids: list[str]) -> Any:
            asked.append(client_ids)
            if len(asked) == 1:
                raise Unavailable("it is away")
            return [PingResult(known=not one.endswith("7"), expires_at=None) for one in client_ids]

    async def opened_front_end() -> FrontEnd:
        return Away()  # type: ignore[return-value]

    absences = Absences(opened_front_end, 0.03)
    for number in range(1_500):
        absences.begin(str(number), 60.0)
    await until(lambda: len(asked) >= 6)
    await absences.close()
    assert [len(some) for some in asked[:6]] == [1_000, 500, 1_000, 450, 1_000, 350]


async def test_a_browser_with_too_many_polls_gives_up_where_no_interval_is_set(server: Server) -> None:
    """With `multiple_clients_interval=0` a further page is refused instead of coming again at once, for ever."""
    timing = Timing(timeout=20.0, multiple_clients_interval=0)
    async with (
        served(Bayeux(server.address, timing=timing)) as place,
        Browser(f"http://{place}/") as browser,
        Backend(server.address) as backend,
    ):
        one, two = await browser.handshake(), await browser.handshake()
        held = await one.hold(backend)
        (reply,) = await two.connect()
        assert (reply["successful"], reply["error"]) == (False, "429::Too many polls of one browser")
        assert reply["advice"] == {"reconnect": "none", "multiple-clients": True}
        assert not held.done()
        held.cancel()


async def test_two_that_take_a_session_from_each_other_wait_between(server: Server) -> None:
    """Also where other pages of one browser are refused."""
    timing = Timing(timeout=20.0, multiple_clients_interval=0)
    async with (
        served(Bayeux(server.address, timing=timing)) as place,
        Browser(f"http://{place}/") as browser,
        Backend(server.address) as backend,
    ):
        visitor = await browser.handshake()
        first = await visitor.hold(backend)
        second = asyncio.create_task(visitor.connect())
        (reply,) = await first
        assert reply["advice"] == {"reconnect": "retry", "interval": 2_000, "timeout": 20_000}
        second.cancel()


async def test_who_is_never_held_waits_between_two_connects(server: Server) -> None:
    """A timeout of 0, of the front-end or of one client, with no interval would be a busy loop."""
    bayeux = Bayeux(server.address, timing=Timing(timeout=0, retry=0.7))
    async with served(bayeux) as place, Browser(f"http://{place}/") as browser:
        visitor = await browser.handshake()
        (reply,) = await visitor.connect()
        assert reply["advice"] == {"reconnect": "retry", "interval": 700, "timeout": 0}
        (reply,) = await visitor.connect(connectionType="eventsource")
        assert reply["advice"]["interval"] == 700

    bayeux = Bayeux(server.address, timing=Timing(retry=0.7))

    @bayeux.can_handshake
    async def impatient(handshake: Handshake) -> bool:
        handshake.timeout = 0
        return True

    async with served(bayeux) as place, Browser(f"http://{place}/") as browser:
        reply: Reply = await browser.ask("/meta/handshake", **KINDS)
        assert reply["advice"] == {"reconnect": "retry", "interval": 700, "timeout": 0}


@pytest.mark.parametrize(
    "times", [{"retry": 0}, {"retry": -1}, {"timeout": -1}, {"interval": float("nan")}, {"max_inactivity": -0.1}]
)
def test_times_that_make_no_sense_are_refused(times: dict[str, float]) -> None:
    """Where they are given, with their name."""
    with pytest.raises(ValueError, match=next(iter(times))):
        Timing(**times)
