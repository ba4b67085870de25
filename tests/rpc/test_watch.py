"""Watch: eight kinds of events, filters, and what becomes of a watcher that reads too slowly."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from tests.engine.benches import Limits
from tests.support.caller import message, within
from tests.support.link import linked
from tests.support.site import Site, serving
from tests.support.writing import Written, writer_to

from pixied.v1 import watch_pb2 as wire
from pixied_server.admin import Drain
from pixied_server.delivery.hub import Hub
from pixied_server.delivery.watch import Watchers
from pixied_server.engine.abc import Engine, Event
from pixied_server.engine.memory import MemoryEngine
from pixied_server.rpc.convert import event_out
from pixied_server.rpc.watch import WatchServicer

Events = Callable[[int], Any]
# A server's clock does not jump when the machine's is set, and a store has its own: so many seconds they may be apart.
_CLOCKS = 5.0


@asynccontextmanager
async def watching(site: Site, **wanted: Any) -> AsyncIterator[Events]:
    """Watches; gives a function that awaits the next so many events."""
    stream = site.stream("Watch", **wanted)
    assert await stream.read() == wire.WatchResponse()

    async def events(count: int) -> list[wire.Event]:
        found: list[wire.Event] = []
        async with within():
            while len(found) < count:
                found += (await stream.read()).events
        return found

    yield events
    stream.cancel()


def _told(event: wire.Event) -> tuple[str, str, str]:
    return wire.EventKind.Name(event.kind).removeprefix("EVENT_KIND_").lower(), event.client_id, event.channel


async def test_a_clients_life_in_events(site: Site) -> None:
    """All eight kinds, in the order in which they happen, each with what the contract says."""
    begun = time.time()
    async with watching(site) as events, linked(site, "edge-1") as link:
        alice = await site.client("/a")
        await link.attach(alice, 1)
        await site.publish("/a", "1", id="7", client_id=alice)
        await link.messages(1, 1)
        await site("DestroyClient", client_id=alice, reason="bored")
        seen = await events(8)
    # A store may announce a message to those who get it before it has answered the publish.
    seen[3:5] = sorted(seen[3:5], key=lambda event: event.kind)
    assert [_told(event) for event in seen] == [
        ("client_created", alice, ""),
        ("channel_created", "", "/a"),
        ("subscribed", alice, "/a"),
        ("published", alice, "/a"),
        ("delivered", "", "/a"),
        ("unsubscribed", alice, "/a"),
        ("channel_destroyed", "", "/a"),
        ("client_destroyed", alice, ""),
    ]
    published, delivered, destroyed = seen[3], seen[4], seen[7]
    assert (published.message_id, published.recipients) == ("7", 1)
    assert (delivered.message_id, delivered.recipients, delivered.front_end) == ("7", 1, "edge-1")
    assert destroyed.reason == "bored"
    assert all(begun - _CLOCKS <= event.at.ToNanoseconds() / 1e9 <= time.time() + _CLOCKS for event in seen)


async def test_queued_messages_name_their_client(site: Site) -> None:
    """`published` of QueueFor is about the client that it was queued for."""
    async with watching(site, kinds=["EVENT_KIND_PUBLISHED"]) as events:
        alice = await site.client()
        await site("QueueFor", client_id=alice, messages=[message("/service/a")])
        assert [_told(event) for event in await events(1)] == [("published", alice, "/service/a")]


_ON_B = ["channel_created", "subscribed", "published", "unsubscribed", "channel_destroyed"]
_FILTERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "kinds": ({"kinds": ["EVENT_KIND_SUBSCRIBED", "EVENT_KIND_PUBLISHED"]}, ["subscribed"] * 2 + ["published"] * 2),
    "a channel": ({"channel_pattern": "/b"}, _ON_B),
    "a pattern": ({"channel_pattern": "/*", "kinds": ["EVENT_KIND_PUBLISHED"]}, ["published"] * 2),
    "both": ({"channel_pattern": "/b", "kinds": ["EVENT_KIND_PUBLISHED"]}, ["published"]),
    "another channel": ({"channel_pattern": "/c"}, []),
    "another client": ({"client_id": "nobody"}, []),
}


@pytest.mark.parametrize(("wanted", "expected"), _FILTERS.values(), ids=_FILTERS)
async def test_filters(site: Site, wanted: dict[str, Any], expected: list[str]) -> None:
    """Events pass all filters that are set; those without a channel do not pass a channel's filter."""
    watched = site.stream("Watch", **wanted)
    await watched.read()
    alice = await site.client("/a", "/b")
    await site.publish("/a", "1")
    await site.publish("/b", "2")
    await site("Unsubscribe", client_id=alice, channels=["/b"])
    await site("DestroyClient", client_id=alice)
    # The stop ends the stream after all that happened before it.
    await site("Drain")
    seen = [_told(event)[0] for event in await _rest(watched)]
    assert sorted(seen) == sorted(expected)


async def _rest(stream: Any) -> list[wire.Event]:
    """All events until the server closes the stream."""
    events: list[wire.Event] = []
    async with within():
        while not (answer := await stream.read()).HasField("closing"):
            events += answer.events
    return events


async def test_one_clients_events(site: Site) -> None:
    """The filter for a client leaves out what others do."""
    alice, bob = await site.client(), await site.client()
    async with watching(site, client_id=alice) as events:
        await site("Subscribe", client_id=bob, channels=["/a"])
        await site("Subscribe", client_id=alice, channels=["/a"])
        assert [_told(event) for event in await events(1)] == [("subscribed", alice, "/a")]


async def test_a_watcher_that_has_no_room_is_told_how_much_it_missed() -> None:
    """Events seen and events missed are all there were."""
    async with serving(watch_buffer=100) as site:
        stream = site.stream("Watch", kinds=["EVENT_KIND_PUBLISHED"])
        await stream.read()
        seen, missed = 0, 0
        for _ in range(5):
            await site.publish("/a", *["1"] * 1_000)
        async with within():
            while seen + missed < 5_000:
                answer = await stream.read()
                seen, missed = seen + len(answer.events), missed + answer.missed
        assert seen + missed == 5_000
        stream.cancel()


async def test_many_events_come_in_frames_that_any_client_takes() -> None:
    """The most that may wait for a watcher, each as large as it can be, are more than the default limit of 4 MB."""
    async with serving(max_batch_items=10_000) as site, watching(site, kinds=["EVENT_KIND_PUBLISHED"]) as events:
        about = {"id": "i" * 255, "client_id": "c" * 255}
        await site.publish("/" + "a" * 254, *["1"] * 10_000, **about)
        assert len(await events(10_000)) == 10_000


async def test_nobody_watches_nothing_is_kept(site: Site) -> None:
    """A watcher that is gone is forgotten: the next one sees only what happens from its first answer on."""
    async with watching(site) as events:
        await site.client()
        await events(1)
    bob = await site.client()
    async with watching(site) as events:
        await site("DestroyClient", client_id=bob)
        assert [_told(event)[0] for event in await events(1)] == ["client_destroyed"]


async def test_the_first_answer_comes_when_nothing_is_missed_any_more(
    site: Site, engine_class: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not before the engine shows what all processes do: that may take a store a while."""
    begun, ready = asyncio.Event(), asyncio.Event()
    watch = engine_class.watch

    async def watch_when_ready(self: Engine) -> None:
        begun.set()
        await ready.wait()
        await watch(self)

    monkeypatch.setattr(engine_class, "watch", watch_when_ready)
    first = asyncio.ensure_future(site.stream("Watch").read())
    async with within():
        await begun.wait()
        # Whatever it writes before arrives before this is answered.
        await site("GetInfo")
        assert not first.done()
        ready.set()
        assert await first == wire.WatchResponse()


class _Context(Written):
    """Where answers are written, as slowly as the reader reads."""

    def __init__(self) -> None:
        self.answers: list[wire.WatchResponse] = []
        self.begun = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()

    async def write(self, frame: bytes) -> None:
        self.answers.append(wire.WatchResponse.FromString(frame))
        self.begun.set()
        await self.reads.wait()


class _Stage:
    """Watchers without a network, of which each keeps three events."""

    def __init__(self) -> None:
        self.drain = Drain(1.0, lambda: None, Random(1))
        self.engine = MemoryEngine(Limits().of_engine, time.time)
        self.hub = Hub(self.engine, Watchers(3), time.time)

    async def watch(self, context: Any, **wanted: Any) -> "asyncio.Task[None]":
        """Begin to watch."""
        valid: Any = SimpleNamespace(text=lambda _, text: text)
        request = wire.WatchRequest(**wanted).SerializeToString()
        watching = asyncio.create_task(WatchServicer(self.hub, valid, self.drain).watch(request, writer_to(context)))
        async with within():
            await context.begun.wait()
        return watching


def _shown(context: _Context) -> list[list[int]]:
    """The kinds of events in each answer with events."""
    return [[event.kind for event in answer.events] for answer in context.answers if answer.events]


async def test_what_happened_before_a_stop_is_shown() -> None:
    """Though a watcher had no turn between the two."""
    stage, context = _Stage(), _Context()
    watching = await stage.watch(context)
    async with within():
        await stage.engine.create_client(60.0, {})
        stage.drain.begin()
        await watching
    assert _shown(context) == [[wire.EVENT_KIND_CLIENT_CREATED]]
    assert context.answers[-1].HasField("closing")


async def test_an_event_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many watchers get it."""
    encoded = []

    def counted(event: Event) -> wire.Event:
        encoded.append(event)
        return event_out(event)

    monkeypatch.setattr("pixied_server.rpc.watch.event_out", counted)
    stage = _Stage()
    contexts = [_Context() for _ in range(10)]
    watching = [await stage.watch(context) for context in contexts]
    async with within():
        await stage.engine.create_client(60.0, {})
        stage.drain.begin()
        await asyncio.gather(*watching)
    assert len(encoded) == 1
    assert all(_shown(context) == [[wire.EVENT_KIND_CLIENT_CREATED]] for context in contexts)


async def test_a_watcher_that_is_not_read_misses_what_it_has_no_room_for() -> None:
    """Of the events that it wants: others are not counted, however many there are meanwhile."""
    stage, context = _Stage(), _Context()
    watching = await stage.watch(context, kinds=["EVENT_KIND_CLIENT_CREATED"])
    context.reads.clear()
    async with within():
        clients = [(await stage.engine.create_client(60.0, {})).client_id for _ in range(2)]
        while not _shown(context):  # noqa: ASYNC110 - the stream does it by itself
            await asyncio.sleep(0)
        for _ in range(5):
            for client_id in clients:
                await stage.engine.subscribe(client_id, ["/a", "/b"])
                await stage.engine.unsubscribe(client_id, ["/a", "/b"])
            await stage.engine.create_client(60.0, {})
            await asyncio.sleep(0)
        context.reads.set()
        while not context.answers[-1].missed:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0)
    assert list(map(len, _shown(context))) == [2, 3]
    assert context.answers[-1].missed == 2
    watching.cancel()
    await asyncio.wait([watching])
