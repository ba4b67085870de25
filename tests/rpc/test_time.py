"""Time on a link: heartbeats, silence, and when sessions end."""

import asyncio
from time import monotonic, time

import pytest
from google.protobuf.duration_pb2 import Duration
from tests.support.caller import within
from tests.support.link import RawLink, detach, linked
from tests.support.refusals import refused
from tests.support.site import Site, serving

from pixied.v1 import attach_pb2 as wire
from pixied_server import app
from pixied_server.engine.abc import Claim, Delivered, Engine


async def _end_of(site: Site, client_id: str) -> None:
    """Wait until a client has timed out."""
    watcher = site.stream("Watch", client_id=client_id, kinds=["EVENT_KIND_CLIENT_DESTROYED"])
    async with within():
        await watcher.read()
        if [one.client_id for one in (await site("ListClients")).clients if one.client_id == client_id]:
            assert [event.reason for event in (await watcher.read()).events] == ["timed out"]
    watcher.cancel()


async def test_heartbeats_come_and_keep_a_link_alive() -> None:
    """A front-end that answers each heartbeat stays, for longer than the silence limit."""
    async with serving(heartbeat_interval=0.05, silence_limit=1.0) as site, linked(site) as link:
        until = monotonic() + 1.5
        while monotonic() < until:
            await link.next("heartbeat")
            await link.send(wire.AttachCommand(heartbeat=wire.Heartbeat()))
        await link.end()


async def test_a_silent_link_is_dropped_and_its_clients_expire() -> None:
    """Nothing received for the silence limit: the stream ends with a reason, and only then do timeouts run."""
    async with serving(heartbeat_interval=0.05, silence_limit=1.0) as site, linked(site) as link:
        alice = await site.client(session_timeout=Duration(seconds=1))
        begun = monotonic()
        await link.attach(alice, 1)
        refusal = await refused(_all_events(link))
        assert monotonic() - begun > 1.0
        assert (refusal.code, refusal.reason) == ("INVALID_ARGUMENT", "STREAM_PROTOCOL")
        assert "answer each heartbeat" in refusal.text
        await _end_of(site, alice)
        assert monotonic() - begun > 2.0


async def test_a_link_whose_commands_take_long_is_not_silent(
    engine_class: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store is slow with is not the front-end's fault: its heartbeats wait behind that."""
    release = engine_class.release

    async def slow(self: Engine, claim: Claim, delivered: Delivered) -> None:
        await asyncio.sleep(0.7)
        await release(self, claim, delivered)

    monkeypatch.setattr(engine_class, "release", slow)
    async with serving(heartbeat_interval=0.05, silence_limit=1.0) as site, linked(site) as link:
        for handle in (1, 2):
            await link.attach(await site.client(), handle)
        await link.send(detach(1), detach(2))
        gone = 0
        while gone < 2:
            event = await link.event()
            gone += event.WhichOneof("event") == "detached"
            if event.WhichOneof("event") == "heartbeat":
                await link.send(wire.AttachCommand(heartbeat=wire.Heartbeat()))
        await link.end()


async def _all_events(link: RawLink) -> None:
    while True:
        await link.event()


async def test_a_stream_without_hello_is_dropped_when_it_is_silent() -> None:
    """Whoever opens a link and says nothing holds a place for no longer than a link that falls silent."""
    async with serving(heartbeat_interval=0.02, silence_limit=0.1) as site:
        async with within():
            refusal = await refused(site.both_ways("Attach").read())
        assert refusal.reason == "STREAM_PROTOCOL"
        assert "within 0.1 s" in refusal.text


async def test_an_attached_client_does_not_expire(site: Site) -> None:
    """Its session waits for the link; from the detach on its timeout runs in full."""
    async with linked(site) as link:
        alice = await site.client(session_timeout=Duration(seconds=1))
        bystander = await site.client(session_timeout=Duration(seconds=1, nanos=200_000_000))
        await link.attach(alice, 1)
        assert not (await site("GetClient", client_id=alice)).client.HasField("expires_at")
        await _end_of(site, bystander)
        await link.send(detach(1))
        await link.next("detached")
        assert (await site("GetClient", client_id=alice)).client.HasField("expires_at")
        await _end_of(site, alice)


async def test_a_client_attached_with_expires_runs_on(site: Site) -> None:
    """Its front-end is told when the session ends, for it counts the silence itself."""
    async with linked(site) as link:
        alice = await site.client(session_timeout=Duration(seconds=1))
        started = monotonic()
        await link.attach(alice, 1, expires=True)
        gone = await link.next("detached")
        assert (gone.handle, gone.reason, gone.detail) == (1, wire.DETACH_REASON_EXPIRED, "timed out")
        assert monotonic() - started >= 0.999


async def test_a_session_ends_at_its_deadline_and_not_before(site: Site) -> None:
    """The event's own time is at most 100 ms after the deadline that the client was told, and never before it."""
    watcher = site.stream("Watch", kinds=["EVENT_KIND_CLIENT_DESTROYED"])
    await watcher.read()
    told: dict[str, float] = {}
    for wait in range(100, 300, 10):
        created = (await site("CreateClient", session_timeout=Duration(nanos=wait * 1_000_000))).client
        told[created.client_id] = created.expires_at.ToNanoseconds() / 1e9
    late: dict[str, float] = {}
    async with within():
        while len(late) < len(told):
            for event in (await watcher.read()).events:
                late[event.client_id] = event.at.ToNanoseconds() / 1e9 - told[event.client_id]
    assert min(late.values()) >= -1e-6, late
    # The median, for on a loaded machine this process itself may not run for 100 ms.
    assert sorted(late.values())[len(late) // 2] <= 0.1, late
    watcher.cancel()


async def test_a_clock_that_is_set_ends_no_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the machine's is set an hour ahead, sessions go on by the time that passes, those that begin later too."""
    ahead = 0.0
    monkeypatch.setattr(app, "time", lambda: time() + ahead)
    async with serving() as site:
        clients = [await site.client("/a", session_timeout=Duration(seconds=60))]
        ahead = 3_600.0
        clients.append(await site.client("/a", session_timeout=Duration(seconds=60)))
        await site.publish("/a", "1")
        assert [await site.taken(client_id) for client_id in clients] == [["1"], ["1"]]
