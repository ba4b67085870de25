"""What becomes of sessions: inactive clients, kicked clients, pixied away and back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Self, cast

import grpc
import pytest
from tests.bayeux.site import Browser, opened, served, until, until_held
from tests.sdk.made_up import Frames, answer_of, link, server_of
from tests.sdk.servers import TIMEOUT, Server, running_server

from pixied.v1 import attach_pb2, pipeline_pb2
from pixied_client import Backend, Backoff, Event, FrontEnd, Unavailable
from pixied_client.bayeux import Bayeux, BayeuxMessage, Limits, Session, Timing
from pixied_client.bayeux.backing import Backing
from pixied_client.bayeux.departures import Departures
from pixied_client.bayeux.error_log import ErrorLog

LONGEST = 0.3


async def test_a_client_that_only_connects_is_disconnected(server: Server) -> None:
    """Connects are no activity, other messages are; which front-end sees them does not matter."""
    timing = Timing(timeout=0.05, max_inactivity=0.5)
    async with (
        served(Bayeux(server.address, timing=timing)) as one,
        served(Bayeux(server.address, timing=timing)) as two,
        Browser(f"http://{one}/") as browser,
        Browser(f"http://{two}/") as other,
    ):
        lazy, active = await browser.handshake(), await browser.handshake()
        reply = {"successful": True}
        while reply["successful"]:
            assert (await active.at(other).ask("/x", data=1))["successful"]
            *_, reply = await lazy.connect()
        assert (reply["error"], reply["advice"]["reconnect"]) == ("403::Inactive for too long", "none")
        assert (await active.connect())[0]["successful"]


async def test_every_front_end_hears_of_the_end_of_a_session(server: Server, backend: Backend) -> None:
    """Wherever it was and why it ended."""
    bayeux = Bayeux(server.address)
    ended: list[tuple[str, str]] = []

    @bayeux.on("gone")
    async def gone(session: Session, reason: str) -> None:
        ended.append((session.client_id, reason))

    async with served(bayeux):
        client = await backend.create_client(0.2)
        await until(lambda: (client.client_id, "timed out") in ended)


async def test_a_listener_that_fails_misses_no_later_end(server: Server, backend: Backend) -> None:
    """Its failure is that of one session's end alone."""
    bayeux = Bayeux(server.address)
    ended: list[str] = []

    @bayeux.on("gone")
    async def gone(session: Session, reason: str) -> None:
        del reason
        ended.append(session.client_id)
        raise RuntimeError

    async with served(bayeux):
        clients = [(await backend.create_client()).client_id for _ in range(2)]
        for client_id in clients:
            await backend.destroy_client(client_id)
            await until(lambda client_id=client_id: client_id in ended)


async def test_who_gives_up_while_a_front_end_begins_takes_it_from_nobody(server: Server) -> None:
    """The first request may be cut before pixied is reached; those that wait with it, and later ones, are served."""
    backing = Backing(lambda: FrontEnd(server.address, "beginning"))
    first, second = (asyncio.create_task(backing.front_end()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    front_end = await second
    assert await backing.front_end() is front_end
    await front_end.create_client()
    await backing.close()


@pytest.mark.parametrize("transport", ["long-polling", "websocket"])
async def test_while_pixied_is_away_clients_are_told_to_come_again(transport: str) -> None:
    """Messages are refused with 503 and advice, and all recovers by itself."""
    with running_server() as pixied:
        bayeux = Bayeux(pixied.address, timing=Timing(timeout=0.5, retry=0.1, backend=0.5))
        async with (
            served(bayeux) as place,
            Browser(f"http://{place}/") as browser,
            opened(f"http://{place}/") as socket,
        ):
            visitor = await browser.handshake()
            ask = socket.ask if transport == "websocket" else browser.ask
            pixied.kill()
            reply = await ask("/meta/connect", clientId=visitor.client_id, connectionType=transport)
            assert reply["error"] == "503::Backend unavailable"
            assert reply["advice"]["reconnect"] == "retry"
            reply = await ask("/meta/handshake", version="1.0", supportedConnectionTypes=[transport])
            assert (reply["error"], reply["advice"]["reconnect"]) == ("503::Backend unavailable", "handshake")
            pixied.start()
            while not reply["successful"]:
                await asyncio.sleep(0.05)
                reply = await ask("/meta/handshake", version="1.0", supportedConnectionTypes=[transport])
            reply = await ask("/meta/connect", clientId=visitor.client_id, connectionType=transport)
            assert reply["error"].startswith("402:")


async def test_a_front_end_leaves_no_task_behind(server: Server) -> None:
    """Polls that were cut, sockets that were cut and streams that were cut are gone, with all that they did."""
    before = asyncio.all_tasks()
    async with served(Bayeux(server.address, timing=Timing(timeout=30))) as place, Backend(server.address) as backend:
        async with Browser(f"http://{place}/") as browser, opened(f"http://{place}/") as socket:
            visitor = await browser.handshake()
            poll = await visitor.hold(backend)
            poll.cancel()
            client_id = await socket.handshake()
            await socket.hold(backend, client_id)
        await until_held(backend, visitor.client_id, "")
        await until_held(backend, client_id, "")
    await asyncio.gather(poll, return_exceptions=True)
    await until(lambda: asyncio.all_tasks() <= before)


@pytest.mark.parametrize("channel", ["/meta/subscribe", "/meta/unsubscribe", "/service/a"])
async def test_a_request_waits_once_for_a_pixied_that_hangs(channel: str) -> None:
    """The first message waits for its whole time, and the others are refused with it instead of one after the other."""
    hangs = False
    unanswered: list[pipeline_pb2.Operation] = []

    async def pipeline(requests: Frames, _: Any) -> Frames:
        async for request in requests:
            if hangs:
                unanswered.extend(request.operations)
            else:
                yield pipeline_pb2.PipelineResponse(results=map(answer_of, request.operations))

    async with server_of(link(), pipeline) as address:
        bayeux = Bayeux(address, timing=Timing(backend=0.3))

        @bayeux.service("/service/a")
        async def ask(session: Session, message: BayeuxMessage) -> None:
            del message
            await session.deliver("/a", 1)

        message = {"channel": channel, "clientId": "x", "subscription": "/a", "data": 1}
        async with served(bayeux) as place, Browser(f"http://{place}/") as browser:
            while not (await browser.post(message))[0]["successful"]:
                pass  # not connected yet
            hangs = True
            replies = await browser.post(*8 * [message])
    assert [reply["error"] for reply in replies] == 8 * ["503::Backend unavailable"]
    assert len(unanswered) <= 1


async def test_a_channel_of_ones_own_is_what_it_connects_by(server: Server, backend: Backend) -> None:
    """For everything: with a channel that has credentials nothing goes by another one, where there is nobody."""
    async with grpc.aio.insecure_channel(server.address) as channel:
        bayeux = Bayeux("unix:///nowhere/socket", timing=Timing(timeout=0.5), channel=channel)
        ended: list[str] = []

        @bayeux.on("gone")
        async def gone(session: Session, reason: str) -> None:
            del reason
            ended.append(session.client_id)

        async with served(bayeux) as place, Browser(f"http://{place}/") as browser:
            visitor = await browser.handshake()
            # A watcher begins by itself, and is told only of what ends after that.
            async with asyncio.timeout(TIMEOUT):
                while not ended:
                    await backend.destroy_client((await backend.create_client()).client_id)
            await backend.destroy_client(visitor.client_id)
            await until(lambda: visitor.client_id in ended)


async def test_a_front_end_takes_as_much_at_once_as_its_limits_say() -> None:
    """Pixied sends so many deliveries ahead of their confirmation."""
    hellos: list[attach_pb2.Hello] = []

    async def attach(requests: Frames, context: Any) -> Frames:
        (command,) = (await anext(aiter(requests))).commands
        hellos.append(command.hello)
        async for frame in link()(requests, context):
            yield frame

    async with server_of(attach) as address, Bayeux(address, name="edge", limits=Limits(window=7)):
        await until(lambda: hellos != [])
    assert (hellos[0].front_end, hellos[0].window) == ("edge", 7)


async def test_beside_another_application_it_alone_learns_of_start_and_stop(server: Server) -> None:
    """Django does not handle them; and what is not at its path, or below, is the other's."""
    asked: list[str] = []

    async def other(scope: Any, receive: Any, send: Any) -> None:
        del receive, send
        asked.append(scope["path"])

    both = Bayeux(server.address).beside(other, "/here")
    events = iter(["lifespan.startup", "lifespan.shutdown"])
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return {"type": next(events)}

    async def send(event: Any) -> None:
        sent.append(event["type"])

    await both({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    for path in ("/", "/heretic", "/there/here"):
        await both({"type": "http", "path": path}, receive, send)
    assert asked == ["/", "/heretic", "/there/here"]


async def test_pauses_of_a_watch_begin_anew_after_a_stream_that_stood() -> None:
    """Else a front-end that has run for months would miss the ends of some seconds at each break."""
    noted: list[int] = []

    class Noted(Backoff):
        def pause(self, failures: int, random: Callable[[], float]) -> float:
            del random
            noted.append(failures)
            return 0.0

    class Breaking:
        """A backend whose streams end at once, but for the third one."""

        async def __aenter__(self) -> Self:
            return self

        async def __aexit__(self, *_: object) -> None: ...

        async def watch(self, kinds: object) -> AsyncIterator[Event]:
            del kinds
            if len(noted) == 2:
                await asyncio.sleep(2 * LONGEST)
            raise Unavailable("it broke")
            yield

    departures = Departures(cast(Any, Breaking), cast(Any, None), ErrorLog(), Noted(longest=LONGEST))
    watching = asyncio.create_task(departures.watch())
    await until(lambda: len(noted) >= 4)
    watching.cancel()
    await asyncio.wait([watching])
    assert noted[:4] == [1, 2, 0, 1]
