"""The demo page in Chromium: unmodified CometD and Faye clients before front-ends, networks and a pixied that fail."""

import asyncio
import itertools
import re
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Playwright, ViewportSize, async_playwright
from tests.bayeux.web.cable import Cable
from tests.bayeux.web.laptop import Laptop, laptop
from tests.bayeux.web.person import Person
from tests.bayeux.web.stage import ROOT, Stage, stage
from tests.bayeux.web.witness import Witness
from tests.sdk.servers import TIMEOUT

from pixied_client import Backend
from pixied_client.errors import ClientUnknown

pytestmark = pytest.mark.asyncio(loop_scope="module")

OUTPUT = Path(__file__).parents[1] / "output" / "web"
DESK = ViewportSize(width=1280, height=800)
PHONE = ViewportSize(width=390, height=844)
SHORT_PAUSE = 5.0
"""Seconds. On an idle machine it is a few tenths."""
MOST_REPEATED = 10
"""Messages: half a second of chatter; on an idle machine it is one or none."""

_rooms = itertools.count(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def playwright() -> AsyncIterator[Playwright]:
    async with async_playwright() as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_laptop(playwright: Playwright) -> AsyncIterator[Laptop]:
    async with laptop(playwright) as started:
        yield started


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_stage() -> AsyncIterator[Stage]:
    async with stage() as started:
        yield started


@dataclass
class Scene:
    """Two people in a room of their own, each with a network of their own."""

    stage: Stage
    ann: Person
    bob: Person
    cables: list[Cable]
    backend: Backend
    witness: Witness

    @property
    def people(self) -> tuple[Person, Person]:
        """Both."""
        return self.ann, self.bob

    async def sessions(self) -> list[str]:
        """Both people's client ids."""
        return [await person.client_id() for person in self.people]

    async def cut(self) -> None:
        """Cut both networks."""
        for cable in self.cables:
            await cable.cut()

    def join(self) -> None:
        """Restore both networks."""
        for cable in self.cables:
            cable.join()


async def set_scene(stack: AsyncExitStack, stage: Stage, machine: Laptop, transport: str) -> Scene:
    """Let Ann come with CometD and Bob with Faye."""
    room = f"room{next(_rooms)}"
    backend = await stack.enter_async_context(Backend(stage.pixied.address))
    people, cables = [], []
    for client in ("cometd", "faye"):
        cable = await stack.enter_async_context(Cable(stage.port))
        context = await machine.browser.new_context(viewport=DESK)
        stack.push_async_callback(context.close)
        people.append(await Person.enter(context, cable.origin, room, client, transport))
        cables.append(cable)
    witness = Witness(backend, room)
    witness.join(*people)
    ann, bob = people
    return Scene(stage, ann, bob, cables, backend, witness)


@pytest.fixture(params=["websocket", "long-polling"])
def transport(request: pytest.FixtureRequest) -> str:
    value: str = request.param
    return value


@pytest_asyncio.fixture(loop_scope="module")
async def scene(transport: str, shared_stage: Stage, shared_laptop: Laptop) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        yield await set_scene(stack, shared_stage, shared_laptop, transport)


async def test_two_people_chat_and_have_their_server_killed(scene: Scene, transport: str) -> None:
    """Neither notices more than a short pause: same session, every word there, once and in order."""
    sessions = await scene.sessions()
    await scene.ann.until_people("Ann", "Bob")
    await scene.witness.hear(scene.ann, "Hello Bob")
    await scene.bob.until_shown("Hello Bob")
    await scene.witness.hear(scene.bob, "Hello Ann")
    await scene.ann.until_shown("Hello Ann")
    async with scene.witness.chatter():
        for victim in scene.people:
            await scene.witness.some_more()
            starts = scene.stage.starts
            await victim.kill_server()
            await scene.stage.until_started(starts + 1)
            for person in scene.people:
                await scene.witness.hear(person, f"{person.name} is here, and {victim.name}'s server is not")
            await scene.witness.some_more()
    await scene.witness.judge()
    assert await scene.sessions() == sessions
    # Acknowledged, nothing had to be fetched, and only what was not yet confirmed at the two kills came again.
    for person in scene.people:
        counts = await person.counts()
        assert counts["filled"] == 0
        assert counts["repeated"] <= MOST_REPEATED
    for person in scene.people:
        # On a long poll one may notice nothing at all: nginx and Chromium try a dead connection's request again.
        for note in await person.returns(at_least=1 if transport == "websocket" else 0):
            seconds = re.search(r"after ([\d.]+) s, same session", note)
            assert seconds, note
            assert float(seconds[1]) < SHORT_PAUSE, note


async def test_a_network_is_cut_and_restored(scene: Scene) -> None:
    """The session is the same, and all is there, once and in order: what others said meanwhile, and what one said."""
    sessions = await scene.sessions()
    lost_words = [(person, f"{person.name} says this into a dead network") for person in scene.people]
    async with scene.witness.chatter():
        await scene.witness.some_more()
        await scene.cut()
        with ExitStack() as saying:
            for person, text in lost_words:
                await person.until_down()
                saying.enter_context(scene.witness.hearing(person, text))
                await person.type(text)
            await scene.witness.some_more()
            scene.join()
            for person, text in lost_words:
                await person.until_shown(text)
        await scene.witness.some_more()
    await scene.witness.judge()
    assert await scene.sessions() == sessions


async def test_a_tab_is_reloaded(scene: Scene) -> None:
    """CometD's client goes on with the same session, Faye's with a new one; both show everything that was said."""
    ann, bob = await scene.sessions()
    async with scene.witness.chatter():
        for person in scene.people:
            await scene.witness.some_more()
            await person.page.reload()
            await person.until_up()
            await scene.witness.hear(person, f"{person.name} has reloaded")
        await scene.witness.some_more()
    await scene.witness.judge()
    assert await scene.ann.client_id() == ann
    assert await scene.bob.client_id() != bob


async def test_a_laptop_sleeps(scene: Scene, shared_laptop: Laptop) -> None:
    """All timers stop, and the connections die unnoticed; awake again, the session goes on and nothing is missing."""
    sessions = await scene.sessions()
    async with scene.witness.chatter():
        await scene.witness.some_more()
        shared_laptop.sleep()
        await scene.cut()
        await scene.witness.some_more(40)
        scene.join()
        shared_laptop.wake()
        for person in scene.people:
            await scene.witness.hear(person, f"{person.name} is awake")
    await scene.witness.judge()
    assert await scene.sessions() == sessions


async def test_a_laptop_sleeps_for_longer_than_its_session_lives(transport: str, shared_laptop: Laptop) -> None:
    """Awake again, the page goes on in a new session by itself, and the room's history fills the hole."""
    async with AsyncExitStack() as stack:
        brief = await stack.enter_async_context(stage(max_interval=2.0))
        scene = await set_scene(stack, brief, shared_laptop, transport)
        sessions = await scene.sessions()
        async with scene.witness.chatter():
            await scene.witness.some_more()
            shared_laptop.sleep()
            await scene.cut()
            await gone(scene.backend, sessions)
            scene.join()
            shared_laptop.wake()
            for person in scene.people:
                await scene.witness.hear(person, f"{person.name} is awake")
        await scene.witness.judge()
        assert not set(sessions) & set(await scene.sessions())


async def gone(backend: Backend, client_ids: list[str]) -> None:
    """Wait until sessions have ended."""
    async with asyncio.timeout(TIMEOUT):
        for client_id in client_ids:
            with suppress(ClientUnknown):
                while await backend.get_client(client_id):  # noqa: ASYNC110 - it ends in another process
                    await asyncio.sleep(0.05)


async def test_pixied_is_killed_and_started_again(transport: str, shared_laptop: Laptop) -> None:
    """Its memory is gone, and the sessions with it: the clients handshake anew by themselves, and the pages go on."""
    async with AsyncExitStack() as stack:
        # Faye's client may begin two sessions when several of its messages learn at once that the old one is gone; the
        # first of them ends this soon.
        own = await stack.enter_async_context(stage(max_interval=5.0))
        scene = await set_scene(stack, own, shared_laptop, transport)
        sessions = await scene.sessions()
        for person in scene.people:
            await person.say(f"{person.name} before")
        own.pixied.kill()
        own.pixied.start()
        for person in scene.people:
            await person.say(f"{person.name} after")
        words = [f"{person.name} {when}" for when in ("before", "after") for person in scene.people]
        for person in scene.people:
            await person.until_shown(*words)
            await person.until_people("Ann", "Bob")
            assert sorted(await person.shown()) == sorted(words)
        assert not set(sessions) & set(await scene.sessions())


async def test_who_leaves_is_seen_to_go(shared_stage: Stage, shared_laptop: Laptop) -> None:
    """Faye's client says goodbye when its page is closed, to whichever front-end; all pages are notified."""
    async with AsyncExitStack() as stack:
        scene = await set_scene(stack, shared_stage, shared_laptop, "websocket")
        await scene.ann.until_people("Ann", "Bob")
        await scene.bob.page.close(run_before_unload=True)
        await scene.ann.until_people("Ann")


@pytest.mark.parametrize(("name", "size"), [("desk", DESK), ("phone", PHONE)])
async def test_the_page_fits(name: str, size: ViewportSize, shared_stage: Stage, shared_laptop: Laptop) -> None:
    """Nothing sticks out at the side, and one can see and use the button and the field; pictures of it are kept."""
    async with AsyncExitStack() as stack:
        context = await shared_laptop.browser.new_context(viewport=size)
        stack.push_async_callback(context.close)
        page = await context.new_page()
        await page.goto(f"{shared_stage.origin}/?room=pictures{name}")
        ann = Person(context, page, "cometd", "Ann")
        bob = Person(context, page, "faye", "Bob")
        for person in (ann, bob):
            await person.until_people("Ann", "Bob")
        await ann.say("Hi Bob! Which server are you on?")
        if size is PHONE:
            await page.get_by_role("button", name="Bob").click()
        await bob.say("No idea. I came with quite another library, and I do not see a difference. And if yours dies?")
        if size is PHONE:
            await page.get_by_role("button", name="Ann").click()
        await ann.kill_server()
        await ann.returns(at_least=1)
        await ann.say("It just did. That was hardly a pause.")
        await bob.until_shown("It just did. That was hardly a pause.")
        OUTPUT.mkdir(parents=True, exist_ok=True)
        await page.screenshot(path=OUTPUT / f"{name}.png")
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        for part in (".kill", ".composer input", ".composer button"):
            box = await ann.seat.locator(part).bounding_box()
            assert box
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= size["width"]
            assert box["y"] + box["height"] <= size["height"]


async def test_the_demo_runs_until_it_is_interrupted() -> None:
    """`make demo-web` says where the page is, serves it, and ends well."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "tests.bayeux.web.demo", stdout=PIPE, cwd=ROOT)
    assert process.stdout
    try:
        async with asyncio.timeout(TIMEOUT):
            while not (said := re.search(rb"Open (http://\S+)", await process.stdout.readline())):
                assert process.returncode is None
        async with httpx.AsyncClient() as browser:
            assert "One room" in (await browser.get(said[1].decode())).text
        process.send_signal(signal.SIGINT)
        async with asyncio.timeout(TIMEOUT):
            rest = await process.stdout.read()
            assert await process.wait() == 0, rest
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
